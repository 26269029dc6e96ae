package hsm

import (
	"cmp"
	"crypto"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hsmmirror/hsmmirror/provider"
)

// index is what is known of the keys on the token in one epoch.
type index struct {
	epoch    uint64
	at       time.Time // when it was enumerated
	took     time.Duration
	keys     map[string]*key
	problems []error // of records that belong to none of them
}

// believe takes a key over from what was known of it on the same connection, as a whole, if the token fails to show one of its objects
// now. An object of which nothing is known may hold a record: it is a problem.
func (x *index) believe(known index, objects []*object) {
	unread := map[uint]*object{}
	for _, o := range objects {
		if o.unread() {
			unread[o.handle] = o
		}
	}
	if len(unread) == 0 {
		return
	}
	if known.epoch == x.epoch {
		for kid, k := range known.keys {
			if k.misses(unread) || x.keys[kid].lacks() {
				x.keys[kid] = k
			}
		}
	}
	for _, o := range objects {
		if unread[o.handle] != nil && !o.isRecord() && (o.class == ckoData || o.class == ckoSecretKey || o.class == classUnknown) {
			x.problems = append(x.problems, o.problem)
		}
	}
}

// misses tells whether an object of k is among those that are unread, and takes what it finds from among them.
func (k *key) misses(unread map[uint]*object) bool {
	found := false
	miss := func(o *object) {
		if o != nil && unread[o.handle] != nil {
			delete(unread, o.handle)
			found = true
		}
	}
	for _, r := range slices.Concat(k.records, k.spare, k.contested) {
		miss(r.object)
	}
	for _, v := range k.versions {
		miss(v.private)
	}
	return found
}

// lacks tells whether a version of k is not served because an object can't be read.
func (k *key) lacks() bool {
	return k != nil && slices.ContainsFunc(k.problems, func(p problem) bool { return errors.Is(p.err, errUnread) })
}

// key is one kid as it was found. It is never changed; a change replaces it.
type key struct {
	kid       string
	versions  []*version // live ones, ascending
	records   []*located // of every version ever, as far as the token still has them; ascending, the furthest stage of each
	spare     []*located // records that a further stage has overtaken
	contested []*located // one live record of each version that several keys claim to be
	problems  []problem
}

// problem is why a version is not served.
type problem struct {
	version int // 0: of a record that can't be read, so it may be any
	err     error
}

// located is a record and the object that holds it.
type located struct {
	*record
	object *object
}

// version is one live version.
type version struct {
	*located
	private *object          // private or secret key; nil for a public half that was imported alone
	public  crypto.PublicKey // nil for a secret key
	jwk     provider.JWK
}

// unread is an object of ours that holds no record that we can read.
type unread struct {
	label string // the kid, if it is not damaged too
	err   error
}

// locate reads the records among objects.
func locate(objects []*object) (records []*located, damaged []unread) {
	for _, o := range objects {
		if !o.isRecord() {
			continue
		}
		r, err := parseRecord(o.recordText())
		switch {
		case o.problem != nil:
			err = o.problem
		case err == nil && r.KID != o.label:
			err = misplaced(r)
		}
		if err != nil {
			damaged = append(damaged, unread{o.label, fmt.Errorf("record in %s %s: %w", className(o.class), quote(o.label), err)})
			continue
		}
		records = append(records, &located{r, o})
	}
	return records, damaged
}

// byKID sorts records by their keys.
func byKID(records []*located) map[string][]*located {
	kids := map[string][]*located{}
	for _, r := range records {
		kids[r.KID] = append(kids[r.KID], r)
	}
	return kids
}

// misplaced is the error for a record under another label than its kid.
func misplaced(r *record) error { return damagedf("it holds the record of kid %q", r.KID) }

// byVersion sorts records and keeps the furthest stage of each version. Two live records of one version with different
// objects are a problem: neither is served, and both stay until the version is destroyed.
func (k *key) byVersion(records []*located) {
	slices.SortStableFunc(records, func(a, b *located) int {
		return cmp.Or(cmp.Compare(a.Version, b.Version), cmp.Compare(b.rank(), a.rank()))
	})
	for _, r := range records {
		n := len(k.records)
		if n == 0 || k.records[n-1].Version != r.Version {
			k.records = append(k.records, r)
			continue
		}
		first := k.records[n-1]
		if r.Stage != live || first.Stage == destroyed || first.ID == r.ID {
			k.spare = append(k.spare, r)
			continue
		}
		k.problems = append(k.problems, problem{r.Version, damagedf("two keys on the token claim to be %q", r.jwkKID())})
		if first.Stage == live {
			k.contested = append(k.contested, &located{first.record, first.object})
		}
		first.record = &record{KID: r.KID, Version: r.Version, ID: first.ID, Stage: claimed, ActiveFrom: first.ActiveFrom}
	}
}

// next is the number of the next version. errUnreadable, with the reasons, if a record that can't be read may hold it already.
func (k *key) next() (int, error) {
	for _, p := range k.problems {
		if p.version == 0 {
			return 0, fmt.Errorf("%w: %w", errUnreadable, p.err)
		}
	}
	if len(k.records) == 0 {
		return 1, nil
	}
	return k.records[len(k.records)-1].Version + 1, nil
}

// errUnreadable means that a key can have no new version: nobody knows which numbers are taken.
var errUnreadable = errors.New("a record of the key can't be read, and may hold its highest version")

// states evaluates the schedules of all versions at now, by version.
func (k *key) states(now time.Time) map[int]provider.State {
	schedules, numbers := make([]provider.Schedule, 0, len(k.records)), make([]int, 0, len(k.records))
	for _, r := range k.records {
		if r.Stage == live || r.Stage == destroyed {
			schedules, numbers = append(schedules, r.schedule()), append(numbers, r.Version)
		}
	}
	states := make(map[int]provider.State, len(numbers))
	for i, s := range provider.States(now, schedules) {
		states[numbers[i]] = s
	}
	return states
}

// version returns a live version, 0 for the highest; nil if there is none.
func (k *key) version(n int) *version {
	if k == nil || len(k.versions) == 0 {
		return nil
	}
	if n == 0 {
		return k.versions[len(k.versions)-1]
	}
	i, ok := slices.BinarySearchFunc(k.versions, n, func(v *version, n int) int { return cmp.Compare(v.Version, n) })
	if !ok {
		return nil
	}
	return k.versions[i]
}

// find returns a live version, 0 for the highest. If it can't be served, or may be what a record that can't be read is about, the
// error says why; else it is provider.ErrNotFound.
func (k *key) find(n int) (*version, error) {
	if v := k.version(n); v != nil {
		return v, nil
	}
	var errs []error
	for _, p := range k.problems {
		if n == 0 || p.version == 0 || p.version == n {
			errs = append(errs, p.err)
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return nil, provider.NotFound(k.kid, n)
}

// latest returns what is known of the highest live version, whether its objects can be served or not: its record is enough to make the
// next one. Errors as for find.
func (k *key) latest() (*version, error) {
	v, err := k.find(0)
	if !errors.Is(err, provider.ErrTampered) {
		return v, err
	}
	for _, r := range slices.Backward(k.records) {
		if r.Stage == live {
			return &version{located: r}, nil
		}
	}
	return nil, err
}

// has tells whether the key has the problem, by its text.
func (k *key) has(p problem) bool {
	return k != nil && slices.ContainsFunc(k.problems, func(q problem) bool { return q.version == p.version && q.err.Error() == p.err.Error() })
}

// errs returns the problems without their versions.
func (k *key) errs() []error {
	errs := make([]error, len(k.problems))
	for i, p := range k.problems {
		errs[i] = p.err
	}
	return errs
}

// active returns the version that signs at now; nil if there is none.
func (k *key) active(now time.Time) *version {
	states := k.states(now)
	for _, v := range slices.Backward(k.versions) {
		if states[v.Version] == provider.Active {
			return v
		}
	}
	return nil
}

// ref describes a version at now.
func (k *key) ref(v *version, now time.Time) provider.KeyRef {
	r := v.ref()
	r.State = k.states(now)[v.Version]
	r.Provenance = provider.FromPrimary(now)
	return r
}

// ref describes the version without its state.
func (v *version) ref() provider.KeyRef {
	r := provider.KeyRef{
		KID: v.KID, Version: v.Version, Alg: v.Alg, Bits: v.Bits, Uses: v.Uses, Export: v.Export, Label: v.Label, Tags: v.Tags,
		Created: v.Created, ActiveFrom: v.ActiveFrom, RetireAfter: v.retireAfter(),
		Fingerprint: v.Fingerprint, Imported: v.Imported, Private: v.private != nil,
	}.Clone()
	if v.private != nil {
		r.Evidence = v.private.evidence
	}
	return r
}

// assemble joins a live record with its objects. objects are those with the record's CKA_ID, and those that may have it: errUnread if one
// of those is missed.
func assemble(r *located, objects []*object) (*version, error) {
	v := &version{located: r}
	var public, unread []*object
	for _, o := range objects {
		if o.unread() {
			unread = append(unread, o)
			continue
		}
		if hex.EncodeToString(o.id) != r.ID || !fits(r.Alg, o.keyType) {
			continue
		}
		switch o.class {
		case ckoPrivateKey, ckoSecretKey:
			if v.private != nil && v.private.private == o.private {
				return nil, damagedf("%q: two private keys have its CKA_ID %s", r.jwkKID(), r.ID)
			}
			if v.private == nil || o.private { // one without CKA_PRIVATE may be anyone's, who wants to get in the way
				v.private = o
			}
		case ckoPublicKey:
			public = append(public, o)
		}
	}
	noPrivate, noPublic := v.private == nil && !r.PublicOnly, len(public) == 0 && r.Alg.Class() != provider.Symmetric
	if noPrivate || noPublic {
		for _, o := range unread {
			if o.class == classUnknown || noPrivate && (o.class == ckoPrivateKey || o.class == ckoSecretKey) || noPublic && o.class == ckoPublicKey {
				return nil, fmt.Errorf("%q: %w: %w", r.jwkKID(), errUnread, o.problem)
			}
		}
	}
	switch {
	case noPrivate:
		return nil, fmt.Errorf("%q: %w", r.jwkKID(), errNoKey)
	case noPublic:
		return v, errNoPublic
	case len(public) == 0:
		return v, nil
	}
	return v, v.publishOne(public)
}

// publishOne publishes the first of the public key objects that is the one that was proved. Beside it there may be others, which
// anyone could have put there.
func (v *version) publishOne(objects []*object) (err error) {
	for _, o := range objects {
		half, perr := publicKey(o)
		if perr != nil {
			perr = damagedf("%q: public key object: %w", v.jwkKID(), perr)
		} else {
			v.public = half
			perr = v.publish()
		}
		if perr == nil {
			return nil
		}
		if err == nil {
			err = perr
		}
	}
	return err
}

// errNoKey means that a version's private or secret key object was not found.
var errNoKey = fmt.Errorf("%w: its key object is gone from the token", provider.ErrTampered)

// errNoPublic means that the public key object is missing; the private key may tell what it was.
var errNoPublic = fmt.Errorf("%w: the public key object is gone from the token", provider.ErrTampered)

// publish makes the version's JWK. The public half must be the one that was proved when the record was written: anyone can
// put a public key object on most tokens, without a PIN.
func (v *version) publish() error {
	fingerprint, err := provider.Thumbprint(v.public)
	if err != nil {
		return err
	}
	if v.Fingerprint == "" { // in the making; a live record on the token has one
		v.Fingerprint = fingerprint
	}
	if fingerprint != v.Fingerprint {
		return damagedf("%q: the public key object has fingerprint %s: want %s", v.jwkKID(), fingerprint, v.Fingerprint)
	}
	v.jwk, err = provider.NewJWK(v.ref(), v.public)
	return err
}

func (r *record) jwkKID() string { return provider.JWKKID(r.KID, r.Version) }

func (r *record) rank() int { return slices.Index(stages, r.Stage) }
