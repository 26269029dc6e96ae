package softfile

import (
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"slices"
	"unicode/utf8"

	"github.com/hsmmirror/hsmmirror/internal/fileops"
	"github.com/hsmmirror/hsmmirror/provider"
)

// originalKey is the meta.json of an original store: what holds for all versions of a key. Its klass follows from alg.
type originalKey struct {
	KID     string                     `json:"kid"`
	Alg     provider.KeyAlg            `json:"alg"`
	Uses    []provider.KeyUse          `json:"uses"`
	Export  provider.ExportPolicy      `json:"export_policy"`
	Label   *string                    `json:"label"`
	Tags    map[string]json.RawMessage `json:"tags"` // of any type
	Created json.Number                `json:"created_at"`
}

func readOriginalMeta(dir *fileops.Dir, kid string) (originalKey, error) {
	data, _, err := dir.ReadFile(originalMeta, maxOriginal)
	if errors.Is(err, fs.ErrNotExist) {
		return originalKey{}, provider.Invalidf("no %s: nothing tells what its keys are for", originalMeta)
	}
	if err != nil {
		return originalKey{}, classify(err)
	}
	var meta originalKey
	if err := json.Unmarshal(data, &meta); err != nil || !utf8.Valid(data) {
		return originalKey{}, damaged(dir.Path(originalMeta), errors.New("not the JSON that the original writes"))
	}
	if meta.KID != kid {
		return originalKey{}, damaged(dir.Path(originalMeta), errors.New("the kid in it is another one than the directory's"))
	}
	return meta, nil
}

// describe returns what holds for all versions of the key. What this program has no place for is reported and left out.
//
// Created is the key's, as the original kept none for each version. All are active from then on, and retire those before
// them at once: so the highest one is the key's only published version, as it was in the original.
func (k originalKey) describe(report *Report) (provider.KeyRef, error) {
	if err := k.Alg.Validate(); err != nil {
		return provider.KeyRef{}, err
	}
	created, err := originalTime(k.Created.String())
	if err != nil {
		return provider.KeyRef{}, err
	}
	if k.Export == "" {
		return provider.KeyRef{}, provider.Invalidf("%s: no export_policy", originalMeta)
	}
	// The private halves were made elsewhere, and lay in plain text.
	ref := provider.KeyRef{KID: k.KID, Alg: k.Alg, Export: k.Export, Created: created, ActiveFrom: created, Imported: true}
	if _, err := ref.Spec().Normalize(); err != nil {
		return provider.KeyRef{}, err
	}
	var left Report // which counts if the key can be taken
	if ref.Uses, err = k.uses(&left); err != nil {
		return provider.KeyRef{}, err
	}
	ref.Tags = k.tags(&left)
	if k.Label != nil {
		if err := fits(provider.KeySpec{Alg: k.Alg, Label: *k.Label}); err != nil {
			left.leave(k.KID+": label", err)
		} else {
			ref.Label = *k.Label
		}
	}
	report.Left = append(report.Left, left.Left...)
	return ref, nil
}

func fits(spec provider.KeySpec) error {
	_, err := spec.Normalize()
	return err
}

// uses returns the uses that the algorithm has here. An empty list allowed everything in the original too. Its X25519 keys
// could do nothing but agree on a key, whatever it called that.
func (k originalKey) uses(left *Report) ([]provider.KeyUse, error) {
	kept := slices.Clone(k.Uses)
	kept = slices.DeleteFunc(kept, func(u provider.KeyUse) bool {
		err := fits(provider.KeySpec{Alg: k.Alg, Uses: []provider.KeyUse{u}})
		if err != nil {
			left.leave(k.KID+": use", err)
		}
		return err != nil
	})
	if len(kept) == 0 && len(k.Uses) > 0 && k.Alg != provider.X25519 {
		return nil, provider.Invalidf("none of its uses is one of a key for %s: want some of %v", k.Alg, k.Alg.Uses())
	}
	return kept, nil
}

// tags returns the tags that have a place here. Values that are no text become their JSON text.
func (k originalKey) tags(left *Report) map[string]string {
	tags := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(k.Tags)) {
		var value string
		if json.Unmarshal(k.Tags[name], &value) != nil {
			value = string(k.Tags[name])
		}
		err := fits(provider.KeySpec{Alg: k.Alg, Tags: map[string]string{name: value}})
		if err == nil && len(tags) == provider.MaxTags {
			err = provider.Invalidf("tag %.64q: there are %d before it, the most that a key can have", name, provider.MaxTags)
		}
		if err != nil {
			left.leave(k.KID+": tag", err)
			continue
		}
		tags[name] = value
	}
	return tags
}
