package redisqueue

// The hooks of a session are called by its own goroutine, so that Close, which waits for it, has the last word. When
// Close has no time left to wait, no call begins afterwards.

// renewed tells of a renewal of the lease that was tried.
func (c *consumer) renewed(err error) {
	if hook := c.opts.OnRenewal; hook != nil {
		c.callHook("OnRenewal", func() { hook(err) })
	}
}

// recovered tells of jobs of a dead worker that were given back.
func (c *consumer) recovered(jobs int64) {
	if hook := c.opts.OnRecovered; hook != nil && jobs > 0 {
		c.callHook("OnRecovered", func() { hook(int(jobs)) })
	}
}

// callHook calls a hook, which must not take the process down, nor the lease along with the goroutine.
func (c *consumer) callHook(name string, hook func()) {
	c.mu.Lock()
	muted := c.muted
	c.mu.Unlock()
	if muted {
		return
	}
	defer func() {
		if p := recover(); p != nil {
			c.queue.config.Logger.Error(name+" panicked", "queue", c.name, "panic", p)
		}
	}()
	hook()
}

// mute ends the calls of hooks.
func (c *consumer) mute() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.muted = true
}
