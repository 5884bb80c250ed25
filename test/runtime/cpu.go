package main

import (
	"syscall"
	"time"
)

// cpuTime is what the process has used of the processor. Beside the time on the
// wall it tells what a measure takes on a machine that does other things as well.
func cpuTime() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
