package main

import (
	"strings"

	"github.com/spf13/cobra"
)

// newTopics returns worked examples: help on what to do, and not on a command.
func newTopics() []*cobra.Command {
	return []*cobra.Command{
		{
			Use:   "start",
			Short: "From nothing to a verified token, with SoftHSM2",
			Long: `From nothing to a verified token, with SoftHSM2.

Make a token for development, its keystore and a configuration file:

  $ hsmmirror init --softhsm ~/hsmmirror-dev

or set up one that is there; init asks for what it does not know:

  $ hsmmirror init

See which tokens there are, and what one can do:

  $ hsmmirror token list
  $ hsmmirror token doctor --token demo --pin-source file:pin

Without a configuration file the environment names the stores:

  $ export HSMMIRROR_MODULE=/usr/lib/softhsm/libsofthsm2.so HSMMIRROR_TOKEN=demo
  $ export HSMMIRROR_PIN_SOURCE=file:/etc/hsmmirror/pin
  $ export HSMMIRROR_STORE=/var/lib/hsmmirror

Make a key, sign with it, and verify with nothing but the JWK Set:

  $ hsmmirror key create --kid payments --alg ECDSA_P256_SHA256
  $ echo '{"sub":"alice"}' | hsmmirror sign payments --format jwt > token.jwt
  $ hsmmirror jwks > jwks.json
  $ hsmmirror verify --jwks jwks.json < token.jwt`,
		},
		{
			Use:   "night",
			Short: "3 a.m.: signing fails, what now?",
			Long: `3 a.m.: signing fails. What now?

Verification goes on: JWKS and every public key come from the keystore while
the token is away, and commands that answer from there exit 3 and say so.

  $ hsmmirror jwks                       # needs no module and no PIN with --store alone

Find out what is wrong, and do what the line says:

  $ hsmmirror token doctor

A module that hangs or crashes is given up after --timeout. A PIN is tried
once; where one more wrong PIN would lock the token, none is tried. Is the
token there at all, and what stands on it?

  $ hsmmirror token list
  $ hsmmirror token objects --token demo --pin-source file:/etc/hsmmirror/pin

A service heals by itself when the token is back. If a call into the module
never came back, only a new process helps; the log says "wedged".`,
		},
		{
			Use:   "rotation",
			Short: "Rotate a key, on a quiet day and in an emergency",
			Long: `Rotate a key, on a quiet day and in an emergency.

On a quiet day the new version is published first and signs 10 minutes later;
the one before stays published for 24 hours more, so that nobody sees a
signature whose key is not in the JWK Set. Choose windows that cover your
verifiers' caches and the lifetime of what you sign:

  $ hsmmirror key rotate payments --publish-before 1h --retire-after 48h
  $ hsmmirror key list payments

In an emergency the new version signs at once, and the one before is gone
from the JWK Set and destroyed:

  $ hsmmirror key revoke payments

What has been signed with the old version does not verify any more.`,
		},
		{
			Use:   "foreign",
			Short: "Keys that other tools made",
			Long: `Keys that other tools made.

Inspection shows everything on a token, whoever made it, with what its owner
should know: extractable, imported, without an ID, twice, too small.

  $ hsmmirror token objects --class private --long
  $ hsmmirror token objects -o json | jq '.[] | select(.findings != [])'

A foreign key is in no JWK Set until it is adopted, which writes a record
beside it and changes nothing else:

  $ hsmmirror key adopt --id 01 --kid legacy
  $ hsmmirror key adopt --label 'web server' --alg RSA_PSS_SHA256

What a pkcs11-tool user types often works: token list-slots,
token list-objects, token list-mechanisms, --class privkey.`,
		},
		{
			Use:   "restore",
			Short: "The mirror was damaged, lost or put back from a backup",
			Long: `The mirror was damaged, lost or put back from a backup. What now?

The token is the system of record, and the mirror a copy: put it aside, and
have it made anew from the token. A backup of the mirror is of use only while
the token is gone; it is as old as the last manifest in it, and readers that
have seen a later one refuse it.

  $ hsmmirror mirror verify              # what is wrong
  $ mv /var/lib/hsmmirror /var/lib/hsmmirror.old
  $ hsmmirror mirror reconcile
  $ hsmmirror mirror verify

The new mirror lacks what the token does not hold any more, and remembers
nothing of what was destroyed. Private halves are in it as far as --mode full
and each key allow.

A host that writes should have a --state-dir of its own, apart from the
keystore. It makes the next manifest newer than any that was seen, so that
readers follow, and notices an older copy of the mirror, with which keys would
come back that were destroyed since. Without it the manifests begin at
generation 1 again, and each reader has to put its own --state-dir aside.`,
		},
		{
			Use:   "exit-codes",
			Short: "What the exit codes say",
			Long: `What the exit codes say.

  0  done
  1  the store said no or did not answer; a signature does not verify; a check
     of token doctor failed
  2  the command line is wrong, and nothing was touched
  3  done, but degraded: an answer from the mirror, a write that was not
     mirrored, a list with gaps, a check with a warning

Results go to stdout, everything for a person to stderr. In a script:

  $ hsmmirror jwks > new.json; case $? in 0|3) mv new.json jwks.json ;; esac`,
		},
	}
}

// strictHelp makes the help command refuse what there is no help on, where cobra's prints the help of what stands before it.
func strictHelp(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	for _, help := range root.Commands() {
		if help.Name() != "help" {
			continue
		}
		help.Run = nil
		help.RunE = func(_ *cobra.Command, args []string) error {
			cmd, rest, err := root.Find(args)
			if err != nil || len(rest) > 0 {
				return usagef("hsmmirror help lists the commands and topics", "no help on %s", printable(strings.Join(args, " ")))
			}
			cmd.InitDefaultHelpFlag()
			return cmd.Help()
		}
	}
}
