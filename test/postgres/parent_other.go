//go:build !linux

package postgres

import "syscall"

// base is the directory in which a server gets its own; empty for the usual one.
func base(Options) string { return "" }

// dieWithParent does nothing where the kernel cannot do it.
func dieWithParent(*syscall.SysProcAttr) {}
