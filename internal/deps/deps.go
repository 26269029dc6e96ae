package deps
import (
 _ "github.com/miekg/pkcs11"
 _ "github.com/ThalesIgnite/crypto11"
 _ "github.com/lestrrat-go/jwx/v2/jwk"
 _ "github.com/lestrrat-go/jwx/v2/jwe"
 _ "github.com/lestrrat-go/jwx/v2/jws"
 _ "github.com/lestrrat-go/jwx/v2/jwt"
 _ "github.com/stretchr/testify/require"
 _ "github.com/spf13/cobra"
 _ "github.com/rogpeppe/go-internal/testscript"
 _ "golang.org/x/crypto/ssh"
 _ "golang.org/x/sys/unix"
 _ "golang.org/x/term"
)
