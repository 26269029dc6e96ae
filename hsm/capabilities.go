package hsm

import (
	"context"
	"slices"

	"github.com/hsmmirror/hsmmirror/provider"
)

// need is what an algorithm needs of a token.
type need struct {
	create uint // mechanism that generates a key
	use    uint // mechanism of its operation
	bytes  bool // CK_MECHANISM_INFO counts its sizes in bytes
}

var needs = map[provider.KeyAlg]need{
	provider.AES256GCM:       {ckmAESKeyGen, ckmAESGCM, true},
	provider.HMACSHA256:      {ckmGenericSecretKeyGen, ckmSHA256HMAC, false},
	provider.Ed25519:         {ckmECEdwardsKeyPairGen, ckmEdDSA, false},
	provider.X25519:          {ckmECMontgomeryKeyPairGen, ckmECDH1Derive, false},
	provider.RSAOAEPSHA256:   {ckmRSAPKCSKeyPairGen, ckmRSAPKCSOAEP, false},
	provider.RSAPSSSHA256:    {ckmRSAPKCSKeyPairGen, ckmRSAPKCSPSS, false},
	provider.RSAPKCS1SHA256:  {ckmRSAPKCSKeyPairGen, ckmRSAPKCS, false},
	provider.ECDSAP256SHA256: {ckmECKeyPairGen, ckmECDSA, false},
	provider.ECDSAP384SHA384: {ckmECKeyPairGen, ckmECDSA, false},
	provider.ECDSAP521SHA512: {ckmECKeyPairGen, ckmECDSA, false},
}

// Capabilities says what the token can do, by its mechanisms and their key sizes.
func (t *Token) Capabilities(ctx context.Context) (provider.Capabilities, error) {
	if err := t.begin(ctx); err != nil {
		return provider.Capabilities{}, err
	}
	info, mechanisms, err := t.link.token(ctx)
	if err != nil {
		return provider.Capabilities{}, err
	}
	c := provider.Capabilities{Store: "pkcs11", Features: []provider.Feature{provider.FeaturePersistent, provider.FeatureNonExportable}}
	if len(keyWrapsFor(mechanisms, ckfWrap, provider.RSAOAEPSHA256, 0)) > 0 {
		c.Features = append(c.Features, provider.FeatureExport)
	}
	for _, alg := range provider.Algs() {
		s := support(alg, quirksOf(info), mechanisms)
		if alg == provider.RSAOAEPSHA256 && s.Use && (quirksOf(info).oaepSHA1Only || t.rawOAEP.Load()) {
			s.Note = "the token does the raw RSA step (CKM_RSA_X_509); the padding is removed in this process, in constant time"
		}
		if s.Create && quirksOf(info).fewUses && alg == provider.RSAPKCS1SHA256 {
			s.Note = "the token signs by a raw decryption, so that its keys have CKA_DECRYPT too"
		}
		if s.Use && quirksOf(info).readable(record{Alg: alg, Export: provider.ExportSecretWhenAllowed}) {
			s.Note = "the token wraps no key of this type; one that may be exported is made with CKA_SENSITIVE false"
		}
		c.Algs = append(c.Algs, s)
	}
	return c, nil
}

// support says what a token with these mechanisms can do with an algorithm.
func support(alg provider.KeyAlg, q quirks, mechanisms map[uint]mechanismInfo) provider.AlgSupport {
	n, s := needs[alg], provider.AlgSupport{Alg: alg}
	if n.create == ckmECMontgomeryKeyPairGen && q.montgomeryIsEdwards {
		n.create = ckmECEdwardsKeyPairGen
	}
	if s.Missing = q.unusable(alg, n, mechanisms); s.Missing != "" {
		return s
	}
	s.Use, s.Import = true, !q.noImport
	info, ok := mechanisms[n.create]
	if !ok {
		s.Missing = mechanismName(n.create)
		return s
	}
	s.MinBits, s.MaxBits = sizes(alg, n, info)
	if alg == provider.HMACSHA256 && q.maxGeneratedSecret > 0 {
		s.MaxBits = min(s.MaxBits, q.maxGeneratedSecret)
	}
	if s.Create = s.MinBits <= s.MaxBits; !s.Create {
		s.MinBits, s.MaxBits, s.Missing = 0, 0, mechanismName(n.create)+" of this size"
		return s
	}
	if !s.Import {
		s.Missing = "C_CreateObject for keys"
	}
	return s
}

// unusable says what keeps keys of an algorithm from being used, if anything does. The curve of X25519 shows in the mechanism that
// makes its keys alone.
func (q quirks) unusable(alg provider.KeyAlg, n need, mechanisms map[uint]mechanismInfo) string {
	_, uses := mechanisms[n.use]
	_, creates := mechanisms[n.create]
	_, raw := mechanisms[ckmRSAX509]
	switch {
	case !uses:
		return mechanismName(n.use)
	case alg == provider.X25519 && !creates:
		return mechanismName(n.create)
	case alg.Class() == provider.Symmetric && q.noSecretKeys:
		return "C_GenerateKey, though it lists " + mechanismName(n.use)
	case slices.Contains(q.lacks, alg):
		return "keys of the kind, though it lists " + mechanismName(n.use)
	case alg == provider.Ed25519 && q.noEdDSA:
		return "a signature by " + mechanismName(n.use) + " that says how long it is"
	case alg == provider.RSAOAEPSHA256 && q.oaepSHA1Only && !raw:
		return mechanismName(ckmRSAX509) + ", which its " + mechanismName(n.use) + " with SHA-1 alone does not replace"
	case alg == provider.AES256GCM && q.noGCMEncrypt:
		return "an encryption by " + mechanismName(n.use) + " that says how long its answer is"
	}
	return ""
}

// sizes returns the sizes in bits that both the algorithm and the mechanism allow. A mechanism without an upper bound gives
// none; those whose unit modules don't agree on (generic secrets, the Edwards and Montgomery curves) are not asked.
func sizes(alg provider.KeyAlg, n need, info mechanismInfo) (least, most int) {
	least, _, most = alg.Bits()
	if alg == provider.HMACSHA256 || alg.KeyType() == "OKP" || info.max == 0 {
		return least, most
	}
	unit := 1
	if n.bytes {
		unit = 8
	}
	return max(least, int(info.min)*unit), min(most, int(info.max)*unit)
}

// canCreate returns provider.ErrUnsupported, with the missing mechanism, if the token can't make the key.
func (t *Token) canCreate(ctx context.Context, spec provider.KeySpec) error {
	info, mechanisms, err := t.link.token(ctx)
	if err != nil {
		return err
	}
	s := support(spec.Alg, quirksOf(info), mechanisms)
	switch {
	case !s.Create:
		return provider.Unsupportedf("create a %s key: the token lacks %s", spec.Alg, s.Missing)
	case spec.Bits < s.MinBits || spec.Bits > s.MaxBits:
		return provider.Unsupportedf("create a %s key of %d bits: the token makes %d to %d", spec.Alg, spec.Bits, s.MinBits, s.MaxBits)
	}
	return nil
}

// canImport returns provider.ErrUnsupported, with what is missing, if the token can't take a key from outside or work with it.
func (t *Token) canImport(ctx context.Context, alg provider.KeyAlg) error {
	info, mechanisms, err := t.link.token(ctx)
	if err != nil {
		return err
	}
	if s := support(alg, quirksOf(info), mechanisms); !s.Import {
		return provider.Unsupportedf("import a %s key: the token lacks %s", alg, s.Missing)
	}
	return nil
}
