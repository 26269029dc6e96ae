package mirror

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/hsmmirror/hsmmirror/provider"
)

// successionType is the typ of a JWS by which one manifest key signs over to the next.
const successionType = "hsmmirror-succession+jwt"

// succession is the payload of such a JWS.
type succession struct {
	Issuer    string `json:"iss"` // the old key
	Successor string `json:"sub"` // the new one
}

// signOver returns the statement of old that the key with the given thumbprint follows it.
func signOver(ctx context.Context, old provider.Signer, successor string) (string, error) {
	thumbprint, err := provider.Thumbprint(old.Public())
	if err != nil {
		return "", err
	}
	payload, err := json.Marshal(succession{issuerPrefix + thumbprint, issuerPrefix + successor})
	if err != nil {
		return "", fmt.Errorf("succession: %w", err)
	}
	data, _, err := sealJWS(ctx, old, successionType, payload, nil)
	return string(data), err
}

// follow returns nil if the key anchor is the key with the thumbprint key, or signed over to it, link by link.
// [provider.ErrTampered] otherwise. Links from before anchor are passed over.
func follow(links []string, anchor, key string) error {
	at := anchor
	for _, link := range links {
		if at == key {
			return nil
		}
		by, _, payload, err := openJWS([]byte(link), successionType)
		if err != nil {
			return fmt.Errorf("succession: %w", err)
		}
		if by.Thumbprint() != at {
			continue
		}
		var s succession
		if json.Unmarshal(payload, &s) != nil || s.Issuer != issuerPrefix+at || len(s.Successor) <= len(issuerPrefix) {
			return fmt.Errorf("%w: succession: want the claims iss and sub", provider.ErrTampered)
		}
		at = s.Successor[len(issuerPrefix):]
	}
	if at != key {
		return fmt.Errorf("%w: signed by the key %s: want %s, or one that it signed over to", provider.ErrTampered, key, anchor)
	}
	return nil
}
