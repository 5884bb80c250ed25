package postgres

import "syscall"

// base is the directory in which a server gets its own; empty for the usual one.
func base(options Options) string {
	var room syscall.Statfs_t
	if !options.NoSync || syscall.Statfs(sharedMemory, &room) != nil || room.Bavail*uint64(room.Bsize) < leastMemory { //nolint:gosec // A block has a size.
		return ""
	}
	return sharedMemory
}

// dieWithParent ends a server whose test binary was killed: SIGQUIT makes it
// take its children along.
func dieWithParent(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGQUIT }
