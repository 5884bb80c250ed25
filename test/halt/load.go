package main

import (
	"context"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// load is what others do at the API server meanwhile; the counts are those of
// requests that it answered.
type load struct {
	read, applied atomic.Int64
}

// readAgain lists everything from the store, as clients do that have lost their
// watches.
func (l *load) readAgain(ctx context.Context, admin client.Client) {
	for ctx.Err() == nil {
		var ballast corev1.ConfigMapList
		if admin.List(ctx, &ballast, client.InNamespace(namespace)) == nil {
			l.read.Add(1)
		}
	}
}

// applyAgain applies every agent's manifest, as a GitOps tool does.
func (l *load) applyAgain(ctx context.Context, admin client.Client, crowd int, pause time.Duration) {
	ticker := time.NewTicker(pause)
	defer ticker.Stop()
	for {
		for i := range crowd {
			//nolint:staticcheck // what such tools send: a whole object as a server-side apply
			if admin.Patch(ctx, manifest(i), client.Apply, client.FieldOwner("gitops"), client.ForceOwnership) == nil {
				l.applied.Add(1)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}
