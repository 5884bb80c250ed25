package tradingaccount

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/three-rivers-tech/trading-operator/api/v1alpha1"
	"github.com/three-rivers-tech/trading-operator/controllers/reconcile"
)

// accountLabel on a claim is the hash of its holder's namespace and name, by
// which the claims of an account that is gone are found.
const accountLabel = v1alpha1.GroupName + "/account"

// Claims keep an account at a venue from being two TradingAccounts, which would
// not know of each other's orders. Names are unique within one namespace only, so
// all claims are Leases of the operator's own namespace, named by the account's
// hash. They are never renewed: a claim is good until its holder is gone.
type Claims struct {
	Client client.Client
	// Live reads past the cache: a claim is the last word, and no Lease of the
	// cluster need be held in memory for it.
	Live      client.Reader
	Namespace string
	Clock     clock.PassiveClock
}

// holder is a TradingAccount as a claim names it.
type holder struct {
	types.NamespacedName

	uid types.UID
}

func holderOf(account *v1alpha1.TradingAccount) holder {
	return holder{client.ObjectKeyFromObject(account), account.UID}
}

func (h holder) String() string { return h.Namespace + "/" + h.Name + "/" + string(h.uid) }

func parseHolder(identity *string) (holder, bool) {
	if identity == nil {
		return holder{}, false
	}
	parts := strings.Split(*identity, "/")
	if len(parts) != 3 {
		return holder{}, false
	}
	return holder{types.NamespacedName{Namespace: parts[0], Name: parts[1]}, types.UID(parts[2])}, true
}

// Take claims the account with the given id at its venue. It returns who has it
// already: another TradingAccount that exists; empty when the claim is ours.
func (c *Claims) Take(ctx context.Context, account *v1alpha1.TradingAccount, id string) (rival string, err error) {
	lease := &coordinationv1.Lease{}
	key := client.ObjectKey{Namespace: c.Namespace, Name: claimName(account, id)}
	err = c.Live.Get(ctx, key, lease)
	if apierrors.IsNotFound(err) {
		return "", c.create(ctx, account, key)
	}
	if err != nil {
		return "", fmt.Errorf("read Lease %s: %w", key, err)
	}
	mine := holderOf(account)
	theirs, readable := parseHolder(lease.Spec.HolderIdentity)
	if readable && theirs == mine {
		return "", nil
	}
	if readable {
		exists, err := c.exists(ctx, theirs)
		if err != nil {
			return "", err
		}
		if exists {
			return theirs.NamespacedName.String(), nil
		}
	}
	// The version keeps two that take over at once from both succeeding.
	c.fill(lease, account)
	if err := c.Client.Update(ctx, lease, client.FieldOwner(reconcile.FieldOwner)); err != nil {
		return "", fmt.Errorf("take over Lease %s: %w", key, err)
	}
	return "", nil
}

func (c *Claims) create(ctx context.Context, account *v1alpha1.TradingAccount, key client.ObjectKey) error {
	lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name}}
	c.fill(lease, account)
	if err := c.Client.Create(ctx, lease, client.FieldOwner(reconcile.FieldOwner)); err != nil {
		return fmt.Errorf("create Lease %s: %w", key, err)
	}
	return nil
}

func (c *Claims) fill(lease *coordinationv1.Lease, account *v1alpha1.TradingAccount) {
	mine := holderOf(account)
	if lease.Labels == nil {
		lease.Labels = map[string]string{}
	}
	lease.Labels[reconcile.LabelManagedBy] = reconcile.FieldOwner
	lease.Labels[accountLabel] = hash(mine.NamespacedName.String())
	lease.Spec.HolderIdentity = new(mine.String())
	lease.Spec.AcquireTime = new(metav1.NewMicroTime(c.Clock.Now()))
}

// exists asks the API server itself, because a stale cache must not let a claim
// go whose holder trades.
func (c *Claims) exists(ctx context.Context, who holder) (bool, error) {
	account := &v1alpha1.TradingAccount{}
	err := c.Live.Get(ctx, who.NamespacedName, account)
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read the TradingAccount that has the claim: %w", err)
	}
	return account.UID == who.uid, nil
}

// Release gives back the claim on an account that this TradingAccount no longer
// is. A claim of somebody else stays.
func (c *Claims) Release(ctx context.Context, account *v1alpha1.TradingAccount, id string) error {
	lease := &coordinationv1.Lease{}
	key := client.ObjectKey{Namespace: c.Namespace, Name: claimName(account, id)}
	if err := c.Live.Get(ctx, key, lease); err != nil {
		return client.IgnoreNotFound(err)
	}
	if theirs, readable := parseHolder(lease.Spec.HolderIdentity); !readable || theirs != holderOf(account) {
		return nil
	}
	return c.drop(ctx, lease)
}

// ReleaseAll gives back every claim of a TradingAccount that is gone.
func (c *Claims) ReleaseAll(ctx context.Context, account types.NamespacedName) error {
	var leases coordinationv1.LeaseList
	err := c.Live.List(ctx, &leases, client.InNamespace(c.Namespace), client.MatchingLabels{accountLabel: hash(account.String())})
	if err != nil {
		return fmt.Errorf("list the claims of a deleted account: %w", err)
	}
	for i := range leases.Items {
		who, readable := parseHolder(leases.Items[i].Spec.HolderIdentity)
		if !readable {
			continue
		}
		// An account of the same name may have been created meanwhile.
		exists, err := c.exists(ctx, who)
		if err != nil {
			return err
		}
		if exists {
			continue
		}
		if err := c.drop(ctx, &leases.Items[i]); err != nil {
			return err
		}
	}
	return nil
}

// drop deletes exactly the claim that was read.
func (c *Claims) drop(ctx context.Context, lease *coordinationv1.Lease) error {
	seen := client.Preconditions{UID: new(lease.UID), ResourceVersion: new(lease.ResourceVersion)}
	if err := c.Client.Delete(ctx, lease, seen); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("delete Lease %s: %w", lease.Name, err)
	}
	return nil
}

// claimName is the same for every TradingAccount that is this account.
func claimName(account *v1alpha1.TradingAccount, id string) string {
	environment := ""
	if access := account.Access(); access != nil {
		environment = string(access.Environment)
	}
	return "account-" + hash(string(account.Spec.Venue)+"/"+environment+"/"+id)
}

// hash is short enough for a label.
func hash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:20])
}
