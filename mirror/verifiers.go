package mirror

import (
	"time"

	"github.com/hsmmirror/hsmmirror/provider"
)

// Verifiers describes who verifies with the published keys. With it a rotation whose windows would break them is refused.
type Verifiers struct {
	Cache    time.Duration // how long a verifier keeps a JWK Set before it asks again
	Lifetime time.Duration // how long what was signed must verify, such as a token's lifetime
	Skew     time.Duration // how far two clocks may be apart
}

// validate returns [provider.ErrInvalid] for durations below 0.
func (v Verifiers) validate() error {
	if v.Cache < 0 || v.Lifetime < 0 || v.Skew < 0 {
		return provider.Invalidf("verifiers: cache %v, lifetime %v, skew %v: want no negative duration", v.Cache, v.Lifetime, v.Skew)
	}
	return nil
}

// allow is check for a rotation. One that takes effect now, because the key was compromised, is meant to break verifiers.
func (v Verifiers) allow(r provider.Rotation) error {
	if *r.Windows == (provider.Windows{}) {
		return nil
	}
	return v.check(*r.Windows)
}

// check returns [provider.ErrInvalid], with the arithmetic, for windows in which a verifier would meet a signature whose key
// it does not have.
func (v Verifiers) check(w provider.Windows) error {
	if v.Cache == 0 && v.Lifetime == 0 && v.Skew == 0 {
		return nil
	}
	if least := v.Cache + v.Skew; w.PublishBefore < least {
		return provider.Invalidf("publish before %v: want at least %v = verifiers' cache %v + clock skew %v, or verifiers meet signatures of a key that they have not seen",
			w.PublishBefore, least, v.Cache, v.Skew)
	}
	if least := v.Lifetime + v.Cache + v.Skew; w.RetireAfter < least {
		return provider.Invalidf("retire after %v: want at least %v = lifetime %v + verifiers' cache %v + clock skew %v, or what was signed last stops verifying too early",
			w.RetireAfter, least, v.Lifetime, v.Cache, v.Skew)
	}
	return nil
}
