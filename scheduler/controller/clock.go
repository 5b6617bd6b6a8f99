package controller

import (
	"context"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
)

const (
	clockEvery = time.Second
	// clockJump is by how much the clock must differ from what was counted.
	clockJump = 500 * time.Millisecond
)

// clockWatch watches for jumps of the wall clock: it was set, or the machine slept.
// Timers count, and do not see that.
type clockWatch struct {
	now     func() time.Time
	cache   client.Reader
	enqueue func(client.ObjectKey)
}

// Start implements manager.Runnable.
func (c *clockWatch) Start(ctx context.Context) error {
	ticker := time.NewTicker(clockEvery)
	defer ticker.Stop()
	last := c.now()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		now := c.now()
		if off := jumped(last, now); off.Abs() > clockJump {
			log.FromContext(ctx).Info("the clock was set; looking at all schedules", "by", off.String())
			c.lookAtAll(ctx)
		}
		last = now
	}
}

// jumped is by how much the clock on the wall went further than time did.
func jumped(last, now time.Time) time.Duration {
	wall := now.Round(0).Sub(last.Round(0))
	return wall - now.Sub(last)
}

func (c *clockWatch) lookAtAll(ctx context.Context) {
	var all v1alpha1.ScheduleList
	if err := c.cache.List(ctx, &all); err != nil {
		log.FromContext(ctx).Error(err, "list schedules; each is looked at in its turn")
		return
	}
	for i := range all.Items {
		c.enqueue(client.ObjectKeyFromObject(&all.Items[i]))
	}
}
