// Package files follows files that are replaced while the agent runs, such as those
// of a Secret volume.
package files

import (
	"context"
	"path/filepath"
	"slices"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	// settle lets a writer that makes several changes finish.
	settle = 50 * time.Millisecond
	// Intervals at which the files are looked at anyway: where the system tells of
	// changes, and where it cannot, because it has run out of watches or the
	// directory does not exist yet.
	watchedInterval   = time.Minute
	unwatchedInterval = 5 * time.Second
)

// Watch calls changed after anything has changed in the directories of the given
// files, and now and then without a reason, until the context ends. The directories
// are watched rather than the files, because a Secret volume is replaced by moving
// a link, and an editor replaces a file by another.
func Watch(ctx context.Context, paths []string, changed func()) {
	// Without a watcher the files are looked at every few seconds.
	watcher, err := fsnotify.NewWatcher()
	events := make(chan fsnotify.Event)
	var errs chan error
	if err == nil {
		defer func() { _ = watcher.Close() }()
		events, errs = watcher.Events, watcher.Errors
	}
	directories := make([]string, 0, len(paths))
	for _, path := range paths {
		if directory := filepath.Dir(path); !slices.Contains(directories, directory) {
			directories = append(directories, directory)
		}
	}
	interval := unwatchedInterval
	follow := func() {
		interval = watchedInterval
		for _, directory := range directories {
			if watcher == nil || watcher.Add(directory) != nil {
				interval = unwatchedInterval
			}
		}
	}
	follow()
	// Something may have changed before the watch began.
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-events:
			timer.Reset(settle)
		case err := <-errs:
			if err != nil {
				// Something may have been missed.
				timer.Reset(settle)
			}
		case <-timer.C:
			changed()
			// A directory that was removed and made again is another one.
			follow()
			timer.Reset(interval)
		}
	}
}
