package hsm

import (
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/hsmmirror/hsmmirror/provider"
)

// Defaults of Config.
const (
	DefaultSessions     = 16
	DefaultTimeout      = 10 * time.Second
	DefaultRefreshAfter = 10 * time.Second
	DefaultKeepAlive    = 15 * time.Second
)

// Config says which token to use and how. Module and one of Label, Serial and Slot are required; of the latter, all that
// are given must match, and exactly one token may match them. Prefer the serial or the label: slot numbers move.
type Config struct {
	Module string // path of the PKCS#11 library; a name without a slash is searched for by the dynamic linker
	// InitArgs is what the module wants to be told in C_Initialize (pReserved of CK_C_INITIALIZE_ARGS), as NSS does; empty: nothing,
	// which is what most want. All Tokens of a process on one module must have the same.
	InitArgs string

	Label  string // CKA_LABEL of the token
	Serial string // its serial number
	Slot   *uint  // its slot ID; counts until the token was found: after that it is found again by label and serial number
	// Manufacturer and Model, where given, must match too; they select no token by themselves.
	Manufacturer, Model string

	// PIN returns the user PIN. It is asked at the first login, and again, by a call that comes 10 s later or more, after the token has
	// refused what it said before; the Token keeps the PIN for later logins, and tries none twice that the token has refused in this
	// process. Nil: no login, which shows and uses only what the token gives to everyone.
	PIN provider.SecretSource
	// PINPad has the token itself ask for the PIN at each login, on its keypad or by a dialogue of its module. Want PIN nil then, and
	// a token that has the flag CKF_PROTECTED_AUTHENTICATION_PATH.
	PINPad bool

	Sessions int // greatest number of sessions for operations; 0: DefaultSessions
	// Timeout is the limit of one operation on the token whose context has none earlier; a call that enumerates makes many. 0:
	// DefaultTimeout. A call that outlives it counts as hanging and takes the connection down until it is back ([StateWedged]), so it has
	// to be longer than the token's slowest signature under load. The making of a key may take twelve times as long.
	Timeout      time.Duration
	KeepAlive    time.Duration // the token is asked this often, so that it closes no connection for lying idle; 0: DefaultKeepAlive
	RefreshAfter time.Duration // age at which what is known of the keys is read anew, to see what others did; nothing older than twice that is used; 0: DefaultRefreshAfter, or 20 times as long as reading takes if that is more

	Logger *slog.Logger // changes of state and oddities, once each; nil: nothing is logged

	pace pace
}

func (c Config) normalize() (Config, error) {
	if err := checkModule(c.Module); err != nil {
		return c, err
	}
	if c.Label == "" && c.Serial == "" && c.Slot == nil {
		return c, provider.Invalidf("no token selected: want its label, serial number or slot")
	}
	if err := c.checkNames(); err != nil {
		return c, err
	}
	if strings.IndexByte(c.InitArgs, 0) >= 0 {
		return c, provider.Invalidf("initialisation arguments: want no NUL byte in them")
	}
	if c.Sessions < 0 || c.Timeout < 0 || c.RefreshAfter < 0 || c.KeepAlive < 0 {
		return c, provider.Invalidf("sessions %d, timeout %v, refresh after %v, keep alive %v: want none negative", c.Sessions, c.Timeout, c.RefreshAfter, c.KeepAlive)
	}
	if c.PIN != nil && c.PINPad {
		return c, provider.Invalidf("a PIN and the token's own PIN entry: want one of them")
	}
	if c.Sessions == 0 {
		c.Sessions = DefaultSessions
	}
	if c.Timeout == 0 {
		c.Timeout = DefaultTimeout
	}
	if c.KeepAlive == 0 {
		c.KeepAlive = DefaultKeepAlive
	}
	if c.pace == (pace{}) {
		c.pace = defaultPace
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c, nil
}

// logsIn tells whether there is a way to log in.
func (c Config) logsIn() bool { return c.PIN != nil || c.PINPad }

// checkNames refuses what no token can be called: CK_TOKEN_INFO (PKCS#11 v3.0 section 3.2) has no room for it. A token of that name
// would be missing for ever, which is no outage.
func (c Config) checkNames() error {
	for _, n := range []struct {
		what, name string
		most       int
	}{
		{"label", c.Label, 32},
		{"serial number", c.Serial, 16},
		{"manufacturer", c.Manufacturer, 32},
		{"model", c.Model, 16},
	} {
		if len(n.name) > n.most {
			return provider.Invalidf("token with a %s of %d bytes: want at most %d", n.what, len(n.name), n.most)
		}
	}
	return nil
}

// maxModule is longer than any path, and far less than what the dynamic linker's stack bears.
const maxModule = 4096

// checkModule looks at the file before the dynamic linker runs its constructors.
func checkModule(path string) error {
	switch {
	case path == "":
		return provider.Invalidf("no module: want the path of a PKCS#11 library")
	case len(path) > maxModule:
		return provider.Invalidf("module of %d bytes: want the path of a PKCS#11 library, at most %d", len(path), maxModule)
	case strings.IndexByte(path, 0) >= 0:
		return provider.Invalidf("module: want no NUL byte in its path")
	}
	if !strings.Contains(path, "/") {
		return nil
	}
	info, err := os.Stat(path) // before it is opened: a FIFO would wait for its writer
	if err == nil && !info.Mode().IsRegular() {
		return provider.Invalidf("module %s: want a PKCS#11 library, not a directory or device", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return provider.Invalidf("module: want a readable PKCS#11 library: %w", err)
	}
	return f.Close()
}

// selection describes in words which token is wanted.
func (c Config) selection() string {
	var parts []string
	if c.Label != "" {
		parts = append(parts, "label "+quote(c.Label))
	}
	if c.Serial != "" {
		parts = append(parts, "serial "+quote(c.Serial))
	}
	if c.Slot != nil {
		parts = append(parts, "slot "+utoa(*c.Slot))
	}
	if c.Manufacturer != "" {
		parts = append(parts, "manufacturer "+quote(c.Manufacturer))
	}
	if c.Model != "" {
		parts = append(parts, "model "+quote(c.Model))
	}
	return strings.Join(parts, " and ")
}

// name is how errors name the token.
func (c Config) name() string {
	switch {
	case c.Label != "":
		return c.Label
	case c.Serial != "":
		return c.Serial
	}
	return "slot " + utoa(*c.Slot)
}

// again returns c for the token that it has selected before, and no other. Its slot number may have moved, and another token may have it
// now. A serial number alone does not tell the tokens of some modules apart: tpm2-pkcs11 and openCryptoki give each the same one; where
// the label does not either, the slot number goes on to count.
func (c Config) again(t TokenInfo) Config {
	c.Label, c.Serial, c.Manufacturer, c.Model = t.Label, t.Serial, t.Manufacturer, t.Model
	if !t.twin {
		c.Slot = nil
	}
	return c
}

// matches tells whether a token is the wanted one.
func (c Config) matches(t TokenInfo) bool {
	same := func(want, got string) bool { return want == "" || want == got }
	return same(c.Label, t.Label) && same(c.Serial, t.Serial) && same(c.Manufacturer, t.Manufacturer) && same(c.Model, t.Model) &&
		(c.Slot == nil || *c.Slot == t.Slot)
}

// hasTwin tells whether another of the tokens has the label and serial number of t.
func hasTwin(tokens []TokenInfo, t TokenInfo) bool {
	return slices.ContainsFunc(tokens, func(u TokenInfo) bool {
		return u.Problem == "" && u.Slot != t.Slot && u.Label == t.Label && u.Serial == t.Serial
	})
}
