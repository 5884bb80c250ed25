//go:build faults

package faults

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
)

const (
	// patience is how long anything may take on a machine so busy that one call of the
	// API server takes half a minute.
	patience = 3 * time.Minute
	// settled is how long nothing may happen before everything counts as done.
	settled = 600 * time.Millisecond
	// converge is how long a run may take to become what it should.
	converge = time.Minute
	interval = 15 * time.Millisecond
)

// desk is one namespace with its operator and its world, for one run of a
// scenario.
type desk struct {
	t         *testing.T
	ctx       context.Context
	namespace string
	world     *world
	records   *records
	options   operatorOptions

	mu       sync.Mutex
	operator *operator
	standby  *operator
	past     []*operator
}

// newDesk makes a namespace and turns its world. Both end with the test.
func newDesk(t *testing.T) *desk {
	t.Helper()
	tally.runs.Add(1)
	ctx, cancel := context.WithCancel(context.Background())
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "desk-"}}
	if err := server.Client.Create(ctx, namespace); err != nil {
		t.Fatal(err)
	}
	d := &desk{t: t, ctx: ctx, namespace: namespace.Name, records: record.of(namespace.Name), options: operatorOptions{release: newest}}
	d.world = newWorld(namespace.Name)
	for _, name := range []string{"-a", "-b"} {
		d.addNode(namespace.Name + name)
	}
	turned := make(chan struct{})
	go func() {
		defer close(turned)
		d.world.turn(ctx)
	}()
	t.Cleanup(func() {
		d.killAll()
		d.leave()
		cancel()
		<-turned
		record.forget(d.namespace)
	})
	return d
}

// leave removes what other runs would see.
func (d *desk) leave() {
	for _, name := range []string{"-a", "-b"} {
		node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: d.namespace + name}}
		if err := server.Client.Delete(d.ctx, node); client.IgnoreNotFound(err) != nil {
			d.t.Error(err)
		}
	}
	// There are few addresses for Services.
	if err := server.Client.DeleteAllOf(d.ctx, &corev1.Service{}, client.InNamespace(d.namespace)); err != nil {
		d.t.Error(err)
	}
	if d.t.Failed() {
		d.mu.Lock()
		defer d.mu.Unlock()
		for i, past := range d.past {
			d.t.Logf("log of operator %d:\n%s", i+1, past.activity.tail())
		}
	}
}

func (d *desk) addNode(name string) {
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if err := server.Client.Create(d.ctx, node); err != nil {
		d.t.Fatal(err)
	}
	d.setNode(name, corev1.ConditionTrue)
}

// setNode has the node controller say whether a node answers.
func (d *desk) setNode(name string, ready corev1.ConditionStatus) {
	node := &corev1.Node{}
	if err := server.Client.Get(d.ctx, client.ObjectKey{Name: name}, node); err != nil {
		d.t.Fatal(err)
	}
	before := node.DeepCopy()
	node.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: ready, LastTransitionTime: metav1.Now()}}
	if err := server.Client.Status().Patch(d.ctx, node, client.MergeFrom(before)); err != nil {
		d.t.Fatal(err)
	}
}

// start starts the operator.
func (d *desk) start() *operator {
	d.t.Helper()
	o, err := startOperator(d.namespace, d.world, d.options)
	if err != nil {
		d.t.Fatal(err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.operator, d.past = o, append(d.past, o)
	if d.options.elect {
		go d.startAgain(o)
	}
	return o
}

// startAgain does what a kubelet does with an operator that has ended by itself,
// because a busy machine let its lease run out.
func (d *desk) startAgain(o *operator) {
	select {
	case <-o.ended:
	case <-d.ctx.Done():
		return
	}
	if o.transport.isDead() {
		return
	}
	o.transport.die()
	leader := d.current()
	fresh := d.start()
	d.mu.Lock()
	defer d.mu.Unlock()
	if leader != o {
		d.operator = leader
	}
	if d.standby == o {
		d.standby = fresh
	}
}

// startStandby starts a second operator that waits for the lead.
func (d *desk) startStandby() {
	d.t.Helper()
	leader, standby := d.current(), d.start()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.operator, d.standby = leader, standby
}

// awaitLeader waits until an operator has the lead.
func (d *desk) awaitLeader() {
	d.t.Helper()
	d.until("a leader", func() error {
		lease := &coordinationv1.Lease{}
		if err := server.Client.Get(d.ctx, client.ObjectKey{Namespace: d.namespace, Name: leaseName}, lease); err != nil {
			return err
		}
		if lease.Spec.HolderIdentity == nil || *lease.Spec.HolderIdentity == "" {
			return errors.New("nobody has the lead")
		}
		return nil
	})
}

// allowLeading gives the operator the right to compete for the lead of the desk,
// which it has in its own namespace alone.
func (d *desk) allowLeading() {
	d.t.Helper()
	d.create(&rbacv1.Role{
		ObjectMeta: d.meta("leader"),
		Rules:      []rbacv1.PolicyRule{{APIGroups: []string{"coordination.k8s.io"}, Resources: []string{"leases"}, Verbs: []string{"get", "create", "update"}}},
	}, &rbacv1.RoleBinding{
		ObjectMeta: d.meta("leader"),
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "leader"},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: "trading-system", Name: "trading-operator"}},
	})
}

func (d *desk) current() *operator {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.operator
}

// succeed puts a new operator in the place of one that has crashed: the one that
// waits for the lead, or else a fresh one.
func (d *desk) succeed(crashed *operator) error {
	if err := crashed.kill(); err != nil {
		return err
	}
	if d.takeOver() {
		return nil
	}
	d.start()
	return nil
}

// takeOver puts the standby in the operator's place; false if there is none.
func (d *desk) takeOver() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.standby == nil {
		return false
	}
	d.operator, d.standby = d.standby, nil
	return true
}

// restart ends the operator and starts another.
func (d *desk) restart() {
	d.t.Helper()
	if err := d.succeed(d.current()); err != nil {
		d.t.Fatal(err)
	}
}

func (d *desk) killAll() {
	d.mu.Lock()
	past := append([]*operator(nil), d.past...)
	d.mu.Unlock()
	for _, o := range past {
		if err := o.kill(); err != nil {
			d.t.Error(err)
		}
		for _, panicked := range o.activity.panicked() {
			d.t.Errorf("the operator panicked: %s", panicked)
		}
		for _, path := range o.transport.careless {
			d.t.Errorf("the operator deleted %s by force or without its UID", path)
		}
	}
}

// attend replaces the operator when it crashes, until the returned function is
// called; that tells whether it did.
func (d *desk) attend() (stop func() bool) {
	watched, done, finished := d.current(), make(chan struct{}), make(chan bool)
	go func() {
		select {
		case <-watched.transport.crashed:
		case <-done:
		}
		crashed := watched.transport.isDead()
		if crashed {
			if err := d.succeed(watched); err != nil {
				d.t.Error(err)
			}
		}
		finished <- crashed
	}()
	return func() bool {
		close(done)
		return <-finished
	}
}

// hasWork reports whether there is anything that an operator must look at.
func (d *desk) hasWork() bool {
	for _, object := range d.records.all() {
		if object.GroupVersionKind().Group == v1alpha1.GroupName {
			return true
		}
	}
	return false
}

// isQuiet reports whether nothing happens any more: no pass, no write, no change.
func (d *desk) isQuiet() bool {
	o := d.current()
	passed, busy := o.activity.idleSince()
	if busy || o.activity.passed() == 0 && d.hasWork() {
		return false
	}
	for _, latest := range []time.Time{passed, o.transport.lastWrite(), d.records.lastChange(), d.world.lastAct()} {
		if time.Since(latest) < settled {
			return false
		}
	}
	return true
}

// quiet waits until nothing happens any more.
func (d *desk) quiet() {
	d.t.Helper()
	d.until("quiet", func() error {
		if !d.isQuiet() {
			return errors.New("something happens still")
		}
		return nil
	})
}

// until waits for something to be so.
func (d *desk) until(what string, check func() error) {
	d.t.Helper()
	var last error
	err := wait.PollUntilContextTimeout(d.ctx, interval, patience, true, func(context.Context) (bool, error) {
		last = check()
		return last == nil, nil
	})
	if err != nil {
		d.t.Fatalf("%s: %v; conditions: %s", what, last, d.conditions())
	}
}

// conditions tell how every object of the desk is doing.
func (d *desk) conditions() string {
	var words []string
	for at, object := range d.records.all() {
		conditions, _, _ := unstructured.NestedSlice(object.Object, "status", "conditions")
		for _, item := range conditions {
			condition, ok := item.(map[string]any)
			if ok && condition["type"] == "Ready" {
				words = append(words, fmt.Sprintf("%s %v %v: %v", at, condition["status"], condition["reason"], condition["message"]))
			}
		}
	}
	return strings.Join(words, "\n")
}

// The user's part.

// create creates objects.
func (d *desk) create(objects ...client.Object) {
	d.t.Helper()
	for _, object := range objects {
		if err := server.Client.Create(d.ctx, object); err != nil {
			d.t.Fatal(err)
		}
		d.recorded(object)
	}
}

// recorded waits until the records hold what the user has written, so that
// nothing that is waited for afterwards is found in an older state.
func (d *desk) recorded(object client.Object) {
	d.t.Helper()
	gvk, err := apiutil.GVKForObject(object, server.Client.Scheme())
	if err != nil {
		d.t.Fatal(err)
	}
	if gvk.Kind == "Secret" {
		return
	}
	wanted, err := strconv.ParseInt(object.GetResourceVersion(), 10, 64)
	if err != nil {
		d.t.Fatal(err)
	}
	d.until("the record of "+object.GetName(), func() error {
		if got := d.records.revisionOf(key{gvk.Kind, object.GetName()}); got < wanted {
			return fmt.Errorf("it is at %d and not at %d", got, wanted)
		}
		return nil
	})
}

// tryEdit edits an object, again and again if somebody comes between.
func tryEdit[T client.Object](d *desk, object T, change func(T)) error {
	for {
		if err := server.Client.Get(d.ctx, client.ObjectKeyFromObject(object), object); err != nil {
			return err
		}
		change(object)
		err := server.Client.Update(d.ctx, object)
		if !apierrors.IsConflict(err) {
			return err
		}
	}
}

// edit edits an object that the API server must accept.
func edit[T client.Object](d *desk, object T, change func(T)) {
	d.t.Helper()
	if err := tryEdit(d, object, change); err != nil {
		d.t.Fatal(err)
	}
	d.recorded(object)
}

// remove deletes an object, and waits until the records say so.
func (d *desk) remove(object client.Object) {
	d.t.Helper()
	gvk, err := apiutil.GVKForObject(object, server.Client.Scheme())
	if err != nil {
		d.t.Fatal(err)
	}
	at := key{gvk.Kind, object.GetName()}
	before := d.records.revisionOf(at)
	if err := server.Client.Delete(d.ctx, object); err != nil {
		d.t.Fatal(err)
	}
	if before == 0 {
		return
	}
	d.until("the record of the deletion of "+object.GetName(), func() error {
		if d.records.revisionOf(at) == before {
			return errors.New("it has not come")
		}
		return nil
	})
}
