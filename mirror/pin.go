package mirror

import (
	"context"

	"github.com/hsmmirror/hsmmirror/provider"
)

// ManifestPin returns the thumbprint of the primary's newest manifest key, for Config.Pin. The primary makes the key if it
// has none. It is the primary's answer, and never the mirror's files'. [provider.ErrUnsupported] if the primary can't sign.
func (m *Mirror) ManifestPin(ctx context.Context) (string, error) {
	if err := m.ready(ctx); err != nil {
		return "", err
	}
	n := &notary{primary: m.primary, up: m.up}
	return askNow(ctx, m, func(ctx context.Context) (string, error) {
		s, err := n.key(ctx, nil)
		if err != nil {
			return "", err
		}
		return provider.Thumbprint(s.Public())
	})
}
