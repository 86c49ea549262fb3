package sqlstatus

import (
	"context"
	"math/rand/v2"
	"time"
)

// busyPatience is for how long a busy database is tried again, beyond SQLite's own busy timeout.
const busyPatience = 10 * time.Second

// whileBusy calls do again while other connections are in its way. do begins anew each time.
func whileBusy(ctx context.Context, do func() error) error {
	ctx, cancel := context.WithTimeout(ctx, busyPatience)
	defer cancel()
	for {
		err := do()
		if err == nil || !isBusy(err) {
			return err
		}
		timer := time.NewTimer(time.Millisecond + rand.N(20*time.Millisecond))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return err
		}
	}
}
