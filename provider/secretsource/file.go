package secretsource

import (
	"context"

	"github.com/hsmmirror/hsmmirror/provider"
)

// File returns the content of a file, read at each call. The file must be a regular one, after symbolic links, that belongs
// to the user of this process or to root, and that nobody else may read or write. On a system that does not tell this by the file's
// mode and owner, which is every one but Unix, the source has none to give.
func File(path string) provider.SecretSource {
	return source(func(context.Context) ([]byte, error) { return readFile(path) }, "file "+path)
}
