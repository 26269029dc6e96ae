package hsm

import (
	"context"
	"log/slog"
	"sync"
)

// recorder keeps the log records of level Info and above.
type recorder struct {
	mu      sync.Mutex
	records []slog.Record
}

func (r *recorder) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelInfo }

func (r *recorder) Handle(_ context.Context, record slog.Record) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.records = append(r.records, record.Clone())
	return nil
}

func (r *recorder) WithAttrs([]slog.Attr) slog.Handler { return r }
func (r *recorder) WithGroup(string) slog.Handler      { return r }

// messages returns the texts without their attributes.
func (r *recorder) messages() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var texts []string
	for _, record := range r.records {
		texts = append(texts, record.Message)
	}
	return texts
}

// about counts the records that have an attribute of the given value.
func (r *recorder) about(name, value string) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, record := range r.records {
		record.Attrs(func(a slog.Attr) bool {
			if a.Key == name && a.Value.String() == value {
				n++
			}
			return true
		})
	}
	return n
}
