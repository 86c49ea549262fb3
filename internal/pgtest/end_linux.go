package pgtest

import "syscall"

// endWithTests makes the server stop when the tests are killed, or run into their timeout, before they stop it.
func endWithTests(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGQUIT }
