package reconcile

import (
	"context"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
)

const (
	// askJitter keeps questions that began together from coming in step.
	askJitter = 0.2
	// askBacklog of news that nobody has taken yet; beyond it a worker waits.
	askBacklog = 1024
)

// AskerOptions say how patient an asker is.
type AskerOptions struct {
	// Workers is how many questions are put at once: each waits for the network
	// most of its time.
	Workers int
	// Timeout bounds one question.
	Timeout time.Duration
	// MinPause and MaxPause bound the pause before a question is put again that
	// found no answer; it doubles in between.
	MinPause, MaxPause time.Duration
}

// Asked is what has come of a question.
type Asked struct {
	// Again is the pause before the question is put again, some jitter apart.
	// Zero drops the question, unless it has Failed.
	Again time.Duration
	// Failed makes the pause at least as long as the failures in a row ask for.
	Failed bool
	// News are the objects that must be reconciled because of the answer.
	News []client.Object
}

// Asker puts questions to what is outside of the cluster, again and again, beside
// the passes of a controller, so that no pass waits for the network. What the
// answers are is kept by whoever asks.
type Asker[Question comparable] struct {
	options AskerOptions
	ask     func(context.Context, Question) Asked
	queue   workqueue.TypedDelayingInterface[Question]
	limiter workqueue.TypedRateLimiter[Question]
	changes chan event.GenericEvent
}

// NewAsker makes an asker that asks nobody until Start runs. Several questions are
// put at once, but never one question twice.
func NewAsker[Question comparable](options AskerOptions, ask func(context.Context, Question) Asked) *Asker[Question] {
	return &Asker[Question]{
		options: options,
		ask:     ask,
		queue:   workqueue.NewTypedDelayingQueue[Question](),
		limiter: workqueue.NewTypedItemExponentialFailureRateLimiter[Question](options.MinPause, options.MaxPause),
		changes: make(chan event.GenericEvent, askBacklog),
	}
}

// Put has a question put at once, as if it had never failed.
func (a *Asker[Question]) Put(question Question) {
	a.limiter.Forget(question)
	a.queue.Add(question)
}

// Changes carries every object that an answer is news for.
func (a *Asker[Question]) Changes() <-chan event.GenericEvent { return a.changes }

// Start asks until the context ends.
func (a *Asker[Question]) Start(ctx context.Context) error {
	var group sync.WaitGroup
	for range a.options.Workers {
		group.Go(func() {
			for a.next(ctx) {
			}
		})
	}
	<-ctx.Done()
	a.queue.ShutDown()
	group.Wait()
	return nil
}

// next deals with one question; false when there will be no more.
func (a *Asker[Question]) next(ctx context.Context) bool {
	question, ended := a.queue.Get()
	if ended {
		return false
	}
	defer a.queue.Done(question)
	limited, cancel := context.WithTimeout(ctx, a.options.Timeout)
	asked := a.ask(limited, question)
	cancel()
	if ctx.Err() != nil {
		return false
	}
	pause := asked.Again
	if asked.Failed {
		pause = max(pause, a.limiter.When(question))
	} else {
		a.limiter.Forget(question)
	}
	if pause > 0 {
		a.queue.AddAfter(question, wait.Jitter(pause, askJitter))
	}
	for _, object := range asked.News {
		select {
		case a.changes <- event.GenericEvent{Object: object}:
		case <-ctx.Done():
		}
	}
	return true
}
