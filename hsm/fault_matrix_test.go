//go:build cgo && unix

package hsm

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/internal/faultmodule"
	"github.com/hsmmirror/hsmmirror/internal/faultmodule/faultmoduletest"
	"github.com/hsmmirror/hsmmirror/provider"
)

// The matrix: each PKCS#11 function that an operation calls answers with a code once, at its first, second or hundredth call (tenth,
// where an operation makes a key: a hundred take too long). The operation returns, with the error that the table of codes says or none; no other call is harmed; the same operation works again,
// without a restart; nothing is left behind.

// matrixCase is one field.
type matrixCase struct {
	operation string
	function  string
	code      uint
	nth       int
	lost      bool // the token did what it was told, and its answer was lost
}

func (c matrixCase) String() string {
	how := "answers"
	if c.lost {
		how = "is done and answers"
	}
	return fmt.Sprintf("%s: %s %s %s at call %d", c.operation, c.function, how, codeName(c.code), c.nth)
}

// matrixRun is what the cases share.
type matrixRun struct {
	m          *faultmodule.Module
	workload   *workload
	operations []operation
	calls      map[string][]string // functions that an operation calls, by its name
	kept       int                 // sessions that the token refused to close
}

// startMatrix makes the workload and finds out which functions it calls.
func startMatrix(t *testing.T) *matrixRun {
	t.Helper()
	m := faultmoduletest.New(t)
	forgetRefusals()
	cfg := faultyConfig(t, m, func(c *Config) {
		c.Sessions, c.KeepAlive = 4, time.Hour
		c.Logger = slog.New(slog.DiscardHandler)
		c.pace = pace{firstRetry: 5 * time.Millisecond, lastRetry: 100 * time.Millisecond, lockedOut: time.Millisecond, probe: 5 * time.Second}
	})
	r := &matrixRun{m: m, workload: newWorkload(t, cfg), calls: map[string][]string{}}
	r.operations = r.workload.operations()
	for _, op := range r.operations {
		calls := m.During(func() { require.NoError(t, op.run(context.Background()), op.name) })
		delete(calls, "C_GetFunctionList") // it is called when a module is loaded, and that fails like a module that is none
		r.calls[op.name] = slices.Sorted(maps.Keys(calls))
	}
	return r
}

// operationNamed panics if there is none.
func (r *matrixRun) operationNamed(name string) operation {
	i := slices.IndexFunc(r.operations, func(o operation) bool { return o.name == name })
	return r.operations[i]
}

// try runs one case.
func (r *matrixRun) try(t *testing.T, c matrixCase) {
	op := r.operationNamed(c.operation)
	plan := r.m.On(c.function).After(c.nth - 1).Times(1)
	fault := plan.Fail
	if c.lost {
		fault = plan.Lose
	}
	armed := fault(c.code)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	for n := 0; armed.Hits() == 0 && n < 2*c.nth; n++ {
		run := op.run
		if n >= c.nth { // what an operation calls depends on what is open and known already
			run = r.workload.restart
		}
		if err := run(ctx); !c.allows(err) {
			t.Errorf("%v: %v", c, err)
			break
		}
	}
	if armed.Hits() == 0 {
		t.Errorf("%v: it was not called so often", c)
	}
	armed.Stop()
	if c.function == "C_CloseSession" {
		r.kept++
	}
	if err := r.recovers(ctx, op, c); err != nil {
		t.Errorf("%v: afterwards: %v", c, err)
		r.reset(t)
	}
}

// reset makes what the next cases need, after one that spoilt it.
func (r *matrixRun) reset(t *testing.T) {
	t.Helper()
	forgetRefusals()
	_ = r.workload.Close()
	r.m.Finalize() // with the next call
	token, err := Open(context.Background(), r.workload.cfg)
	require.NoError(t, err)
	r.workload.Token, r.workload.doubtful = token, nil
}

// recovers runs the operation until it works. It may fail before only as the connection may that the fault has broken.
func (r *matrixRun) recovers(ctx context.Context, op operation, c matrixCase) error {
	refusal := errors.Is(infoOf(c.code).err, provider.ErrAuth)
	for {
		if refusal {
			forgetRefusals() // a person changes the PIN
		}
		err := op.run(ctx)
		switch {
		case err == nil:
			return errors.Join(r.workload.resolve(ctx), r.settles(ctx))
		case ctx.Err() != nil:
			return err
		case errors.Is(err, provider.ErrUnavailable), c.allows(err): // the reason of an outage may be the code itself
		default:
			return err
		}
		time.Sleep(time.Millisecond)
	}
}

// settles waits until nothing is going on in the background that would hit upon the next fault.
func (r *matrixRun) settles(ctx context.Context) error {
	for {
		c := r.workload.link.(*conn)
		m, err := c.ready(ctx)
		if ctx.Err() != nil {
			return err
		}
		if err == nil {
			<-c.check(m, nil)
			if c.up.Load() == m {
				return nil
			}
		}
		time.Sleep(time.Millisecond)
	}
}

// allows tells whether an operation may return err when the case befalls it.
func (c matrixCase) allows(err error) bool {
	info := infoOf(c.code)
	switch {
	case err == nil:
		return true
	case errors.Is(err, provider.ErrNotFound):
		return false // no code says that a key is gone
	case info.err != nil && errors.Is(err, info.err):
		return true
	case info.err == nil && errors.Is(err, provider.ErrUnavailable):
		return true // no answer that the function can give
	case c.function == "C_Verify" && (info.class == classVendor || info.class == classCaller):
		return errors.Is(err, provider.ErrInvalid) // see explain
	case slices.Contains(takesInput, c.function) && info.class == classDevice:
		return errors.Is(err, provider.ErrInvalid) || errors.Is(err, provider.ErrUnavailable)
	case c.function == "C_CreateObject" && info.class == classCaller:
		return errors.Is(err, provider.ErrUnsupported) // the record is ours, and not the caller's
	case c.function == "C_Initialize":
		return errors.Is(err, provider.ErrInvalid) // arguments are missing, or something else has initialised it
	}
	return info.class.doubtful() && errors.Is(err, provider.ErrUnavailable)
}

// end closes the workload and looks for what it leaves behind.
func (r *matrixRun) end(t *testing.T, goroutines int) {
	t.Helper()
	r.m.Clear()
	forgetRefusals()
	require.LessOrEqual(t, r.m.MostSessions(), 2*(4+1)+1+r.kept, "the pool's and the one for the login, those of crypto11, and one of another Token")
	require.NoError(t, r.workload.Close())
	leavesNothing(t, r.m, goroutines)
}

// classCodes are one code of each class.
var classCodes = []uint{
	0x00000008, // CKR_NO_EVENT, which is no fault
	0x00000007, // CKR_ARGUMENTS_BAD
	0x000000A0, // CKR_PIN_INCORRECT
	0x000000B1, // CKR_SESSION_COUNT
	0x00000082, // CKR_OBJECT_HANDLE_INVALID
	0x000000B3, // CKR_SESSION_HANDLE_INVALID
	0x00000101, // CKR_USER_NOT_LOGGED_IN
	0x000000E0, // CKR_TOKEN_NOT_PRESENT
	0x00000050, // CKR_FUNCTION_CANCELED
	0x00000030, // CKR_DEVICE_ERROR
	0x80000001, // a vendor's own
	0x00000190, // CKR_CRYPTOKI_NOT_INITIALIZED
}

func TestEachClassOfCodesHasAnExample(t *testing.T) {
	classes := map[class]bool{}
	for _, code := range classCodes {
		classes[classOf(code)] = true
	}
	for code, info := range codeTable {
		require.True(t, classes[info.class], codeName(code))
	}
}

// Each function of the operations answers once with a code of each class.
func TestEveryFunctionMayAnswerWithEveryClassOfCode(t *testing.T) {
	before := goroutines()
	r := startMatrix(t)
	for _, c := range r.cases(classCodes, []int{1}, false) {
		r.try(t, c)
	}
	r.end(t, before)
}

// cases returns fields of the matrix. each tells that every operation that calls a function is tried, and not just the first.
func (r *matrixRun) cases(codes []uint, nths []int, each bool) []matrixCase {
	var cases []matrixCase
	seen := map[string]bool{}
	for _, op := range r.operations {
		for _, function := range r.calls[op.name] {
			if seen[function] && !each {
				continue
			}
			seen[function] = true
			for _, code := range codes {
				for _, nth := range nths {
					if op.dear {
						nth = min(nth, 10)
					}
					cases = append(cases, matrixCase{op.name, function, code, nth, false})
				}
			}
			if changes[function] {
				cases = append(cases, matrixCase{op.name, function, 0x30, 1, true})
			}
		}
	}
	return cases
}

// changes are the functions that change the token.
var changes = map[string]bool{"C_GenerateKeyPair": true, "C_GenerateKey": true, "C_CreateObject": true, "C_DestroyObject": true, "C_SetAttributeValue": true}

// matrixEnv names the environment variable that has the whole matrix tried: "2/16 10m 0" is the second of 16 shares, in ten minutes at
// most, from its first case on. ci/tokenfaults sets it.
const matrixEnv = "HSMMIRROR_TEST_FAULTS"

func TestTheWholeMatrix(t *testing.T) {
	value := os.Getenv(matrixEnv)
	if value == "" {
		t.Skip("it takes long: ci/tokenfaults runs it")
	}
	var share, shares, skip int
	var limit string
	_, err := fmt.Sscanf(value, "%d/%d %s %d", &share, &shares, &limit, &skip)
	require.NoError(t, err)
	d, err := time.ParseDuration(limit)
	require.NoError(t, err)

	before, end := goroutines(), time.Now().Add(d)
	r := startMatrix(t)
	all := append(r.cases(slices.Sorted(maps.Keys(codeTable)), []int{1, 2, 100}, false), r.cases(classCodes, []int{1}, true)...)
	all = slices.DeleteFunc(all, func(c matrixCase) bool { return c.code == 0 })
	// The shares are disjoint, and each is in an order of its own, so that a run that is cut off has tried some of everything.
	order := rand.New(rand.NewPCG(1, 1))
	order.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	tried := 0
	for i := share - 1 + skip*shares; i < len(all) && time.Now().Before(end); i += shares {
		r.try(t, all[i])
		tried++
	}
	r.end(t, before)
	fmt.Printf("share %d of %d: %d of %d cases tried, after %d\n", share, shares, tried, (len(all)-share)/shares+1, skip)
}
