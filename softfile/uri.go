package softfile

import (
	"context"
	"net/url"
	"path/filepath"
	"strings"

	"github.com/hsmmirror/hsmmirror/provider"
	"github.com/hsmmirror/hsmmirror/provider/secretsource"
)

func init() {
	provider.Register("softfile", func(ctx context.Context, uri string) (provider.Provider, error) {
		cfg, err := ParseURI(uri)
		if err != nil {
			return nil, err
		}
		s, err := Open(ctx, cfg)
		if err != nil {
			return nil, err // and no *Store that is nil in an interface that is not
		}
		return s, nil
	})
}

// ParseURI returns the configuration that a URI stands for:
//
//	softfile:/var/lib/keys?passphrase-source=file:/run/secrets/keys
//
// The path is absolute or relative, with percent-encoding where it is needed (%3F for a question mark, %23 for a hash).
// The query may hold passphrase-source, as [secretsource.Parse] takes it, and kid and version, which name a key
// ([provider.OpenKey]) and are no part of the configuration. [provider.ErrInvalid] for anything else; its text repeats
// nothing of the query.
func ParseURI(uri string) (Config, error) {
	rest, ok := cutScheme(uri)
	if !ok {
		return Config{}, provider.Invalidf("store URI: want softfile: and the path of a directory")
	}
	rest, query, _ := strings.Cut(rest, "?")
	dir, err := url.PathUnescape(rest)
	switch {
	case err != nil || dir == "" || strings.ContainsAny(rest, "#") || strings.ContainsRune(dir, 0):
		return Config{}, provider.Invalidf("store URI: want softfile: and the path of a directory, percent-encoded where it holds %%, ? or #")
	case strings.HasPrefix(dir, "//") && !strings.HasPrefix(dir, "///"):
		return Config{}, provider.Invalidf("store URI with a host: want softfile: and the path of a directory on this one")
	}
	cfg := Config{Dir: filepath.Clean(filepath.FromSlash(dir))}
	values, err := url.ParseQuery(query)
	if err != nil {
		return Config{}, provider.Invalidf("query of the store URI: want attribute=value pairs, percent-encoded")
	}
	for name, value := range values {
		if len(value) != 1 {
			return Config{}, provider.Invalidf("query of the store URI: an attribute stands there twice")
		}
		switch name {
		case "kid", "version":
		case "passphrase-source":
			if cfg.Passphrase, err = secretsource.Parse(value[0]); err != nil {
				return Config{}, err
			}
		default:
			return Config{}, provider.Invalidf("query of the store URI: an attribute that is none of passphrase-source, kid and version")
		}
	}
	_, _, err = provider.ParseKeyQuery(uri)
	return cfg, err
}

func cutScheme(uri string) (rest string, ok bool) {
	const scheme = "softfile:"
	if len(uri) < len(scheme) || !strings.EqualFold(uri[:len(scheme)], scheme) {
		return "", false
	}
	return uri[len(scheme):], true
}
