package softfile

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/hsmmirror/hsmmirror/internal/fileops"
	"github.com/hsmmirror/hsmmirror/provider"
)

// damaged returns the ErrTampered for the content of a file. What the file holds may be hostile: err is cut short, and a
// path that does not print is quoted.
func damaged(path string, err error) error {
	if quoted := strconv.Quote(path); quoted != `"`+path+`"` {
		path = quoted
	}
	return fmt.Errorf("%w: %s: %.200s", provider.ErrTampered, path, err.Error())
}

// classify returns err as one of the contract's errors: ErrTampered if something stands at the path that no store puts
// there, ErrUnsupported if the system has no such operation, else ErrUnavailable.
func classify(err error) error {
	switch {
	case err == nil || errors.Is(err, provider.ErrTampered):
		return err
	case errors.Is(err, fileops.ErrType) || errors.Is(err, fileops.ErrSize):
		return fmt.Errorf("%w: %w", provider.ErrTampered, err)
	case errors.Is(err, errors.ErrUnsupported):
		return fmt.Errorf("%w: %w", provider.ErrUnsupported, err)
	}
	return fmt.Errorf("%w: %w", provider.ErrUnavailable, err)
}
