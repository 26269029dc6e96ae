package provider

import (
	"context"
	"unicode"
	"unicode/utf8"
)

// Labelling is satisfied by stores on which other programs find a key by a label of its objects, as they do by CKA_LABEL on a
// PKCS#11 token. It is not [KeyRef].Label, which is for people and stays as it is.
type Labelling interface {
	// Relabel gives the objects of a version another label; 0 is the highest version. The kid stays, and so does whatever is
	// served of the key. Repeating it is no error. ErrInvalid for a label that breaks a rule of [ValidateObjectLabel];
	// ErrUnsupported, with every label as it was, if the store keeps labels as they are; ErrNotFound. After ErrUnavailable some
	// objects may have the new label: ask again.
	Relabel(ctx context.Context, kid string, version int, label string) (Relabelled, error)
}

// Relabelled is the answer of Relabel.
type Relabelled struct {
	Ref    KeyRef
	Label  string
	Before []string // the labels that the objects had, each once, in ascending order
	// Others is how many objects of other versions and keys have the label too. Programs that look for the label may take
	// one of them.
	Others int
}

// ValidateObjectLabel returns [ErrInvalid] unless label is 1 to MaxLabel bytes of UTF-8 that can be printed: no control
// characters, and none that change the direction of text.
func ValidateObjectLabel(label string) error {
	if label == "" {
		return Invalidf("empty label: want 1 to %d bytes of UTF-8", MaxLabel)
	}
	if err := validateLabel(label); err != nil {
		return err
	}
	for i, r := range label {
		if !unicode.IsGraphic(r) || r == utf8.RuneError {
			return Invalidf("label with the character %U at byte %d: want only what can be printed", r, i)
		}
	}
	return nil
}
