//go:build cgo

package hsm

import (
	"crypto/rand"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
)

var configDir = regexp.MustCompile(`configDir='([^']*)'`)

// certutil makes a pair beside a certificate, without a label and with a CKA_ID of its own.
func TestKeysOfCertutilSignOnceAdopted(t *testing.T) {
	cfg := newNSS(t)
	db, dir := configDir.FindStringSubmatch(cfg.InitArgs)[1], t.TempDir()
	noise := make([]byte, 100)
	rand.Read(noise)
	runProgram(t, nil, "certutil", "-S", "-x", "-k", "ec", "-q", "nistp256", "-n", "web", "-s", "CN=web", "-t", "u,u,u", "-d", db,
		"-f", writeFile(t, dir, "pin", []byte(nssPIN)), "-z", writeFile(t, dir, "noise", noise), "-o", filepath.Join(dir, "certificate"))

	token := openNSS(t, cfg)
	certificate := objectOf(t, token, "CKO_CERTIFICATE", "web")
	ref, err := token.Adopt(t.Context(), Adoption{ID: certificate.ID})
	require.NoError(t, err)
	require.Equal(t, provider.ECDSAP256SHA256, ref.Alg)
	requireSigns(t, token, ref)
	requireSigns(t, openNSS(t, cfg), ref)
}
