package softfile

import (
	"strconv"
	"strings"
)

// The names in a store's directory. No kid begins with a dot and no other name does, except those of temporary files.
const (
	keysDir       = "keys"           // one directory a key, named by its kid
	lockFile      = "lock"           // what writers lock
	storeKeyFile  = "storekey.jwe"   // the store key, encrypted under the passphrase
	tombstoneFile = "destroyed.json" // in a key's directory: its destroyed versions
)

// Limits in bytes of the files that are read. The largest record that can be written, of RSA 4096 with the longest label
// and tags, is below 70 KiB.
const (
	maxRecord    = 128 << 10
	maxTombstone = 4 << 20
	maxStoreKey  = 4 << 10
)

// maxVersion is the highest version number, so that the numbers fit everywhere and file names stay short.
const maxVersion = 999_999_999

// recordName is the name of a version's record in its key's directory.
func recordName(version int) string { return strconv.Itoa(version) + ".json" }

// parseRecordName is the reverse of recordName. It accepts only what recordName writes.
func parseRecordName(name string) (version int, ok bool) {
	digits, ok := strings.CutSuffix(name, ".json")
	if !ok {
		return 0, false
	}
	version, err := strconv.Atoi(digits)
	if err != nil || version < 1 || version > maxVersion || recordName(version) != name {
		return 0, false
	}
	return version, true
}

// keyPath is the directory of a key below the store's. kid is valid, and so no path of its own.
func keyPath(kid string) string { return keysDir + "/" + kid }

func recordPath(kid string, version int) string { return keyPath(kid) + "/" + recordName(version) }

func tombstonePath(kid string) string { return keyPath(kid) + "/" + tombstoneFile }
