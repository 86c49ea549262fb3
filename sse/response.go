package sse

import (
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"
)

// response writes a stream's bytes, each event under a deadline of its own where the server can.
type response struct {
	w       http.ResponseWriter
	control *http.ResponseController
	timeout time.Duration
	waiting bool // something was written and not flushed
	untimed bool // deadlines are not supported
}

// begin sends the header.
func (o *response) begin() {
	header := o.w.Header()
	header.Set("Content-Type", "text/event-stream")
	header.Set("Cache-Control", "no-cache, no-transform")
	header.Set("X-Accel-Buffering", "no")
	o.w.WriteHeader(http.StatusOK)
}

// write sends b. What was written before with more to come is sent with it.
func (o *response) write(b []byte, more bool) error {
	if err := o.deadline(time.Now().Add(o.timeout)); err != nil {
		return fmt.Errorf("write stream: %w", err)
	}
	o.waiting = true
	if _, err := o.w.Write(b); err != nil {
		return fmt.Errorf("write stream: %w", err)
	}
	if more {
		return nil
	}
	return o.flush()
}

// flush sends what was written, and lifts the deadline: HTTP/2 would end an idle stream by it.
func (o *response) flush() error {
	if !o.waiting {
		return nil
	}
	o.waiting = false
	if err := o.control.Flush(); err != nil {
		return fmt.Errorf("flush stream: %w", err)
	}
	if err := o.deadline(time.Time{}); err != nil {
		return fmt.Errorf("flush stream: %w", err)
	}
	return nil
}

// end bounds what the server has left to write. It lifts the deadline itself before a next request.
func (o *response) end() { _ = o.deadline(time.Now().Add(o.timeout)) }

// hurry bounds what is being written when the server shuts down. It is called while another goroutine writes, which
// deadlines are for.
func (o *response) hurry() { _ = o.control.SetWriteDeadline(time.Now().Add(shutdownGrace)) }

// shutdownGrace is how long a viewer has to take what it is being sent when the server shuts down.
const shutdownGrace = time.Second

func (o *response) deadline(t time.Time) error {
	if o.untimed {
		return nil
	}
	err := o.control.SetWriteDeadline(t)
	if errors.Is(err, http.ErrNotSupported) {
		o.untimed = true
		return nil
	}
	return err
}

// buffers are for encoding messages; an idle stream holds none.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

const maxPooledBuffer = 64 << 10

// encoded calls use with what encode has appended to a buffer.
func encoded(encode func(b []byte) []byte, use func(b []byte) error) error {
	buf := buffers.Get().(*[]byte)
	*buf = encode((*buf)[:0])
	err := use(*buf)
	if cap(*buf) <= maxPooledBuffer {
		buffers.Put(buf)
	}
	return err
}
