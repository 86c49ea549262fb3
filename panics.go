package worker

import (
	"errors"
	"fmt"
	"runtime/debug"

	"go.opentelemetry.io/otel"
)

// PanicError is the error of a handler that panicked. It counts as an attempt.
type PanicError struct {
	Value any    // what it panicked with; only its text, if it cannot be read without another panic
	Stack []byte // where
}

func (e *PanicError) Error() string { return fmt.Sprintf("panic: %v", e.Value) }

// Unwrap returns the value if it is an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// panicked makes an error of what a host's code panicked with, to be called while it does.
func panicked(value any) error {
	err := &PanicError{Value: value, Stack: debug.Stack()}
	if !legible(err) {
		err.Value = textOf(value)
	}
	return err
}

// catch turns a panic of a host's code into *err, and sees that an error of the host's can be read.
func catch(err *error) {
	if v := recover(); v != nil {
		*err = panicked(v)
		return
	}
	*err = readable(*err)
}

// readable returns an error of the host's, or, when reading it panics, one that says which it is. That is no panic of the
// call that returned it, which may well have failed for a moment only.
func readable(err error) error {
	if err == nil || legible(err) {
		return err
	}
	return errors.New("an error that panics when it is read: " + textOf(err))
}

// legible reports whether an error can be read without a panic, as a nil pointer that was made an error cannot. It is read
// in all the ways in which the pool will.
func legible(err error) (ok bool) {
	defer func() { _ = recover() }()
	_ = err.Error()
	verbOf(err)
	classOf(err)
	return true
}

// textOf says what v is, as far as that can be said without a panic.
func textOf(v any) (text string) {
	defer func() {
		if recover() != nil {
			text = fmt.Sprintf("%T", v)
		}
	}()
	return fmt.Sprintf("%T: %v", v, v)
}

// handlePanic tells OpenTelemetry's error handler of a panic in what a host has plugged into it: jobs go on without.
func handlePanic(doing string) {
	if v := recover(); v != nil {
		otel.Handle(fmt.Errorf("worker: %s: %w", doing, panicked(v)))
	}
}
