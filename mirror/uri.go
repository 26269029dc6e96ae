package mirror

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/hsmmirror/hsmmirror/provider"
)

// Scheme is the URI scheme of a Mirror:
//
//	mirrored:?primary=URI&secondary=URI&mode=MODE&fail_open_reads=BOOL&refuse_orphans=BOOL
//	  &manifest_dir=PATH&manifest_pin=THUMBPRINT&state_dir=PATH&fail_over_signing=BOOL
//
// The URIs of the two stores, percent-encoded, are required. The rest has the defaults of [Config]: mode public_only,
// fail_open_reads true, refuse_orphans and fail_over_signing false, and none of the directories and pins. The attributes kid
// and version name a key ([provider.OpenKey]).
const Scheme = "mirrored"

var attributes = []string{
	"primary", "secondary", "mode", "fail_open_reads", "refuse_orphans", "manifest_dir", "manifest_pin", "state_dir", "fail_over_signing",
	"kid", "version",
}

func init() {
	provider.Register(Scheme, func(ctx context.Context, uri string) (provider.Provider, error) { return Open(ctx, uri) })
}

// Open opens the Mirror that uri names, and both its stores through [provider.Open]. [provider.ErrInvalid] for a URI that
// is not as [Scheme] says; otherwise the errors of the stores and of New.
func Open(ctx context.Context, uri string) (*Mirror, error) {
	values, cfg, err := parseURI(uri)
	if err != nil {
		return nil, err
	}
	primary, err := provider.Open(ctx, values["primary"])
	if err != nil {
		return nil, fmt.Errorf("primary: %w", err)
	}
	secondary, err := provider.Open(ctx, values["secondary"])
	if err != nil {
		return nil, fmt.Errorf("secondary: %w", joinClose(err, primary))
	}
	return New(primary, secondary, cfg)
}

func joinClose(err error, p provider.Provider) error {
	if cerr := p.Close(); cerr != nil {
		return fmt.Errorf("%w (and close: %w)", err, cerr)
	}
	return err
}

// parseURI returns the attributes of uri and the Config that they ask for. No error repeats the name of an unknown attribute
// or the URI of a store: where the percent-encoding was forgotten, a PIN may stand in either.
func parseURI(uri string) (map[string]string, Config, error) {
	scheme, query, _ := strings.Cut(uri, "?")
	if !strings.EqualFold(scheme, Scheme+":") {
		return nil, Config{}, provider.Invalidf("URI of a mirror: want %s:?primary=URI&secondary=URI", Scheme)
	}
	parsed, err := url.ParseQuery(query)
	if err != nil {
		return nil, Config{}, provider.Invalidf("URI of a mirror: want attribute=value pairs, percent-encoded")
	}
	values := map[string]string{}
	for name, v := range parsed {
		if !slices.Contains(attributes, name) {
			return nil, Config{}, provider.Invalidf("URI of a mirror: unknown attribute, want some of %v", attributes)
		}
		if len(v) > 1 {
			return nil, Config{}, provider.Invalidf("URI of a mirror: attribute %s is given %d times, want once", name, len(v))
		}
		values[name] = v[0]
	}
	for _, name := range []string{"primary", "secondary"} {
		if values[name] == "" {
			return nil, Config{}, provider.Invalidf("URI of a mirror: want the attribute %s, the percent-encoded URI of a store", name)
		}
	}
	cfg := Config{Mode: Mode(values["mode"]), ManifestDir: values["manifest_dir"], Pin: values["manifest_pin"], StateDir: values["state_dir"]}
	failOpen, err := boolean(values, "fail_open_reads", true)
	if err != nil {
		return nil, Config{}, err
	}
	cfg.NoFailOpenReads = !failOpen
	if cfg.RefuseOrphans, err = boolean(values, "refuse_orphans", false); err != nil {
		return nil, Config{}, err
	}
	if cfg.FailOverSigning, err = boolean(values, "fail_over_signing", false); err != nil {
		return nil, Config{}, err
	}
	_, err = cfg.normalize()
	return values, cfg, err
}

func boolean(values map[string]string, name string, standard bool) (bool, error) {
	text, given := values[name]
	if !given {
		return standard, nil
	}
	v, err := strconv.ParseBool(text)
	if err != nil || text != "true" && text != "false" {
		return false, provider.Invalidf("URI of a mirror: attribute %s: want true or false", name)
	}
	return v, nil
}
