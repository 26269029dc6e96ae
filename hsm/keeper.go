package hsm

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"

	"github.com/hsmmirror/hsmmirror/provider"
)

// Records stand on the token in one of two kinds of objects.
//
// A data object holds the record as its value. A token that takes no private data object, as NSS, keeps it in a carrier: a
// secret key that is made for nothing else, may be used for nothing, and holds the record in its CKA_ID.
//
// Both are CKA_PRIVATE, so that only who logs in can write one: whoever could write a record could make a key of theirs ours.
// An object that is not private is no record, whatever it says.

// carrierMark begins the CKA_ID of a carrier; the record follows.
const carrierMark = application + ":"

// isRecord tells whether an object holds a record, or should.
func (o *object) isRecord() bool {
	return o.private && (o.class == ckoData && o.application == application || o.isCarrier())
}

func (o *object) isCarrier() bool {
	return o.class == ckoSecretKey && bytes.HasPrefix(o.id, []byte(carrierMark))
}

// recordText returns what should be the record of an object that isRecord.
func (o *object) recordText() []byte {
	if o.isCarrier() {
		return o.id[len(carrierMark):]
	}
	return o.value
}

// dataTemplate is the data object that holds the record.
func (r record) dataTemplate() ([]attribute, error) {
	text, err := r.marshal()
	return append(dataOf(r.KID), attribute{ckaToken, true}, attribute{ckaValue, text}), err
}

// carrierTemplate is the secret key that carries the record. Its value is random, and the token keeps it.
func (r record) carrierTemplate() ([]attribute, error) {
	text, err := r.marshal()
	value := make([]byte, 32)
	rand.Read(value)
	template := append(carriersOf(r.KID), attribute{ckaKeyType, uint(ckkGenericSecret)}, attribute{ckaToken, true},
		attribute{ckaSensitive, true}, attribute{ckaExtractable, false}, attribute{ckaID, append([]byte(carrierMark), text...)}, attribute{ckaValue, value})
	for _, u := range useAttributes {
		template = append(template, attribute{u.typ, false})
	}
	return template, err
}

// dataOf matches the data objects that hold the records of a key.
func dataOf(kid string) []attribute {
	return []attribute{{ckaClass, uint(ckoData)}, {ckaPrivate, true}, {ckaApplication, application}, {ckaLabel, kid}}
}

// carriersOf matches the carriers of a key, and may match other secret keys.
func carriersOf(kid string) []attribute {
	return []attribute{{ckaClass, uint(ckoSecretKey)}, {ckaPrivate, true}, {ckaLabel, kid}}
}

// findRecords returns the objects that hold the records of a key.
func (t *Token) findRecords(ctx context.Context, kid string) ([]*object, error) {
	objects, err := t.link.find(ctx, dataOf(kid)...)
	t.noteKeepers(objects)
	if err != nil || t.inData.Load() && !t.inKeys.Load() {
		return objects, err
	}
	carriers, err := t.link.find(ctx, carriersOf(kid)...)
	t.noteKeepers(carriers)
	return append(objects, carriers...), err
}

// noteKeepers learns from objects in what the token keeps records.
func (t *Token) noteKeepers(objects []*object) {
	for _, o := range objects {
		if o.isRecord() {
			t.noteKeeper(o.class)
		}
	}
}

func (t *Token) noteKeeper(class uint) {
	if class == ckoData {
		t.inData.Store(true)
	} else {
		t.inKeys.Store(true)
	}
}

// write puts a record on the token: in a data object, or in a carrier if the token takes no such data object. On a token that is known
// to keep records in one of them a refusal is final. provider.ErrUnsupported if it takes neither.
func (t *Token) write(ctx context.Context, rec record) error {
	var data, carrier error
	inData, inKeys := t.inData.Load(), t.inKeys.Load()
	if inData || !inKeys {
		if data = t.keep(ctx, ckoData, rec.dataTemplate); !refuses(data) {
			return data
		}
	}
	if inKeys || !inData {
		if carrier = t.keep(ctx, ckoSecretKey, rec.carrierTemplate); !refuses(carrier) {
			return carrier
		}
	}
	return provider.Unsupportedf("store the record of %q: the token takes no private object for it: data object: %v; secret key: %v", rec.KID, data, carrier)
}

func (t *Token) keep(ctx context.Context, class uint, template func() ([]attribute, error)) error {
	attributes, err := template()
	if err != nil {
		return err
	}
	if err := t.link.create(ctx, attributes); err != nil {
		return err
	}
	t.noteKeeper(class)
	return nil
}

// refuses tells whether the token does not take an object, now or ever.
func refuses(err error) bool {
	return errors.Is(err, provider.ErrInvalid) || errors.Is(err, provider.ErrUnsupported)
}
