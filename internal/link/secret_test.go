package link

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
)

// asAgent has no right but to get and watch the Secret with an agent's keys.
func asAgent(t *testing.T, admin client.Client, agent string) *rest.Config {
	t.Helper()
	role := &rbacv1.Role{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: agent},
		Rules: []rbacv1.PolicyRule{{
			APIGroups: []string{""}, Resources: []string{"secrets"}, ResourceNames: []string{KeysSecret(agent)}, Verbs: []string{"get", "watch"},
		}},
	}
	binding := &rbacv1.RoleBinding{
		ObjectMeta: role.ObjectMeta,
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: agent},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: agent}},
	}
	for _, object := range []client.Object{role, binding} {
		if err := admin.Create(t.Context(), object); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := client.IgnoreNotFound(admin.Delete(context.Background(), object)); err != nil {
				t.Error(err)
			}
		})
	}
	user, err := apiServerEnvironment.AddUser(envtest.User{Name: agent}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return user.Config()
}

func TestKeysAreFollowedWithTheRightToOneSecretAlone(t *testing.T) {
	admin := newClient(t)
	config := asAgent(t, admin, "keyed")
	seen := make(chan map[string][]byte, 100)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	identity := Identity{Namespace: "default", Name: "keyed", UID: "its-own"}
	go func() {
		ended <- FollowKeys(ctx, config, identity, logr.Discard(), func(data map[string][]byte) { seen <- data })
	}()
	// told waits for what is handed over next; nothing else may come before it.
	told := func(what string, want map[string][]byte) {
		t.Helper()
		select {
		case got := <-seen:
			if (got == nil) != (want == nil) || fmt.Sprint(got) != fmt.Sprint(want) {
				t.Fatalf("%s: handed over %s, want %s", what, got, want)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("%s: nothing was handed over", what)
		}
	}
	told("before there is a Secret", nil)
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: KeysSecret("keyed")}, Data: map[string][]byte{"a": []byte("1")}}
	other := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "another"}, Data: map[string][]byte{"a": []byte("hidden")}}
	if err := errors.Join(admin.Create(t.Context(), other), admin.Create(t.Context(), secret)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := admin.Delete(context.Background(), other); err != nil {
			t.Error(err)
		}
	})
	told("created", map[string][]byte{"a": []byte("1")})

	began := time.Now()
	secret.Data = map[string][]byte{"b": []byte("2")}
	if err := admin.Update(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	told("changed", secret.Data)
	// A watch takes some milliseconds, a kubelet's next look at a mounted Secret a minute.
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("a change took %s", took)
	}
	secret.Data = nil
	if err := admin.Update(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	told("emptied", map[string][]byte{})

	// An agent that was deleted leaves its Secret to the garbage collector for a while.
	secret.Data = map[string][]byte{"c": []byte("3")}
	secret.OwnerReferences = []metav1.OwnerReference{{APIVersion: v1alpha1.GroupVersion.String(), Kind: "TradingAgent", Name: "keyed", UID: "an-earlier-one"}}
	if err := admin.Update(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	told("of an earlier agent", nil)
	secret.OwnerReferences[0].UID = identity.UID
	if err := admin.Update(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	told("of this agent", secret.Data)
	if err := admin.Delete(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	told("deleted", nil)
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	select {
	case got := <-seen:
		t.Errorf("handed over once more: %s", got)
	default:
	}
}
