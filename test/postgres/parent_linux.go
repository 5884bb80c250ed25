package postgres

import "syscall"

// dieWithParent ends a server whose test binary was killed: SIGQUIT makes it
// take its children along.
func dieWithParent(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGQUIT }
