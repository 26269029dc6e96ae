package mirror

import (
	"context"

	"github.com/hsmmirror/hsmmirror/provider"
)

var _ provider.Labelling = (*Mirror)(nil)

// Relabel implements [provider.Labelling] by the primary alone: the label is no public material, and no copy has it.
func (m *Mirror) Relabel(ctx context.Context, kid string, version int, label string) (provider.Relabelled, error) {
	if err := m.ready(ctx, checkReserved(kid), provider.ValidateObjectLabel(label)); err != nil {
		return provider.Relabelled{}, err
	}
	return ability(ctx, m, kid, version, "relabel", func(ctx context.Context, p provider.Labelling) (provider.Relabelled, error) {
		return p.Relabel(ctx, kid, version, label)
	})
}
