package provider

// Capabilities is what a store can do.
type Capabilities struct {
	Store    string // kind of store: pkcs11, softfile, mirrored…
	Algs     []AlgSupport
	Features []Feature
}

// AlgSupport is what a store can do with one algorithm. An algorithm of which it can do nothing has Missing set.
type AlgSupport struct {
	Alg              KeyAlg
	Create           bool // CreateKey and RotateKey
	Import           bool // ImportKey with private or secret material
	Use              bool // sign, decrypt, encrypt, authenticate or derive with it
	MinBits, MaxBits int  // size in bits; 0 if Create is false
	Missing          string
	Note             string // how it is done, where that is not the plain way
}

// Feature is an ability of a whole store.
type Feature string

// The features.
const (
	FeaturePersistent    Feature = "persistent"     // keys outlive the process
	FeatureNonExportable Feature = "non_exportable" // private halves can't be had even by who reads the store's memory and files
	FeatureExport        Feature = "export"         // Exporting works for keys that allow it
	FeatureReplica       Feature = "replica"        // PutVersion works
	FeatureFailover      Feature = "failover"       // reads go on from a second store
)

// Alg returns the support of a; the zero AlgSupport with a Missing text if the store does not name it.
func (c Capabilities) Alg(a KeyAlg) AlgSupport {
	for _, s := range c.Algs {
		if s.Alg == a {
			return s
		}
	}
	return AlgSupport{Alg: a, Missing: "not offered by the store"}
}

// Has tells whether the store has the feature.
func (c Capabilities) Has(f Feature) bool {
	for _, g := range c.Features {
		if g == f {
			return true
		}
	}
	return false
}
