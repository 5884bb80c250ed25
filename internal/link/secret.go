package link

import (
	"context"
	"fmt"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
)

// KeysSecret is the name of the Secret with an agent's API keys.
func KeysSecret(agent string) string { return agent + "-api-keys" }

const (
	// readTimeout bounds one look at the Secret.
	readTimeout = 10 * time.Second
	// Pauses after the API server has failed.
	firstRetry   = 200 * time.Millisecond
	longestRetry = 10 * time.Second
)

// OwnsKeys is whether a Secret may hold the keys of an agent: it belongs to no other,
// such as an earlier one of the same name.
func OwnsKeys(secret *corev1.Secret, agentUID types.UID) bool {
	for _, owner := range secret.OwnerReferences {
		if owner.Kind == "TradingAgent" && owner.UID != agentUID {
			return false
		}
	}
	return true
}

// FollowKeys hands over the data of the Secret with an agent's API keys, nil while
// there is none, at once and after every change, until the context ends. The right
// to get and watch that one Secret is all that it needs. While the API server cannot
// be reached, what was handed over last stays true.
func FollowKeys(ctx context.Context, config *rest.Config, identity Identity, log logr.Logger, changed func(data map[string][]byte)) error {
	name := KeysSecret(identity.Name)
	api, err := typedcorev1.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("prepare to watch Secret %q: %w", name, err)
	}
	secrets := follower{secrets: api.Secrets(identity.Namespace), name: name, agentUID: identity.UID, changed: changed}
	pause, told := firstRetry, ""
	for ctx.Err() == nil {
		began := time.Now()
		err := secrets.follow(ctx)
		if time.Since(began) > longestRetry {
			pause = firstRetry
		}
		if err == nil {
			// The API server ends every watch after a while.
			told = ""
			continue
		}
		if ctx.Err() == nil && err.Error() != told {
			told = err.Error()
			log.Info("the Secret cannot be watched; the keys known so far stay valid", "secret", name, "error", told)
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
			pause = min(2*pause, longestRetry)
		}
	}
	return nil
}

type follower struct {
	secrets  typedcorev1.SecretInterface
	name     string
	agentUID types.UID
	changed  func(data map[string][]byte)
	// version of the Secret handed over last.
	version string
	known   bool
}

// follow watches until the watch ends. The watch tells only that something has
// changed; the Secret itself is then read from the API server's store. So no event
// that is late or comes twice can bring a revoked key back.
func (f *follower) follow(ctx context.Context) error {
	watching, err := f.secrets.Watch(ctx, metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector("metadata.name", f.name).String()})
	if err != nil {
		return err
	}
	defer watching.Stop()
	// What happened before the watch began is seen now, what happens later by it.
	if err := f.read(ctx); err != nil {
		return err
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case event, open := <-watching.ResultChan():
			switch {
			case !open:
				return nil
			case event.Type == watch.Error:
				return apierrors.FromObject(event.Object)
			case event.Type == watch.Bookmark:
				continue
			}
			if secret, ok := event.Object.(*corev1.Secret); ok && event.Type != watch.Deleted && f.known && secret.ResourceVersion == f.version {
				continue
			}
			if err := f.read(ctx); err != nil {
				return err
			}
		}
	}
}

// read hands the Secret over if it is another than the one before.
func (f *follower) read(ctx context.Context) error {
	bounded, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	secret, err := f.secrets.Get(bounded, f.name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err), err == nil && !OwnsKeys(secret, f.agentUID):
		if f.version != "" || !f.known {
			f.version, f.known = "", true
			f.changed(nil)
		}
	case err != nil:
		return err
	case !f.known || secret.ResourceVersion != f.version:
		f.version, f.known = secret.ResourceVersion, true
		if secret.Data == nil {
			secret.Data = map[string][]byte{}
		}
		f.changed(secret.Data)
	}
	return nil
}
