//go:build unix && !linux

package pgtest

import "syscall"

// endWithTests does what it says on Linux only.
func endWithTests(*syscall.SysProcAttr) {}
