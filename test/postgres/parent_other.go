//go:build !linux

package postgres

import "syscall"

// dieWithParent does nothing where the kernel cannot do it.
func dieWithParent(*syscall.SysProcAttr) {}
