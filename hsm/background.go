package hsm

import (
	"context"
	"sync"
)

// background is what a Token does beside its callers, until it is stopped.
type background struct {
	mu      sync.Mutex
	stopped bool
	life    context.Context
	cancel  context.CancelFunc
	work    sync.WaitGroup
}

// start runs f in a goroutine, unless the background was stopped. The context of f ends with stop.
func (b *background) start(f func(context.Context)) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.stopped {
		return false
	}
	if b.life == nil {
		b.life, b.cancel = context.WithCancel(context.Background())
	}
	life := b.life
	b.work.Go(func() { f(life) })
	return true
}

// stop ends all that runs, and waits for it.
func (b *background) stop() {
	b.mu.Lock()
	b.stopped = true
	if b.cancel != nil {
		b.cancel()
	}
	b.mu.Unlock()
	b.work.Wait()
}
