//go:build e2etls

package e2etls

import (
	"context"

	"github.com/jackc/pgx/v5"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// decisions that an agent has put on record; they grow while it trades.
func decisions(ctx context.Context, uid string) (count int64, err error) {
	secret, pod := &corev1.Secret{}, &corev1.Pod{}
	if err := cluster.Get(ctx, client.ObjectKey{Namespace: namespace, Name: "ledger"}, secret); err != nil {
		return 0, err
	}
	if err := cluster.Get(ctx, client.ObjectKey{Namespace: namespace, Name: "postgres-0"}, pod); err != nil {
		return 0, err
	}
	config, err := pgx.ParseConfig(string(secret.Data["uri"]))
	if err != nil {
		return 0, err
	}
	// The Service's name means nothing outside the cluster; the pod's address does.
	config.Host, config.ConnectTimeout = pod.Status.PodIP, judgement
	connection, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return 0, err
	}
	defer func() { _ = connection.Close(ctx) }()
	err = connection.QueryRow(ctx, "SELECT count(*) FROM trading.decisions WHERE agent_uid = $1", uid).Scan(&count)
	return count, err
}

// expectTrading proves that the agents decide on, whatever happens to their addresses.
func expectTrading(ctx context.Context, names ...string) {
	GinkgoHelper()
	for _, name := range names {
		agent, err := readAgent(ctx, name)
		Expect(err).NotTo(HaveOccurred())
		before, err := decisions(ctx, string(agent.UID))
		Expect(err).NotTo(HaveOccurred())
		Eventually(decisions).WithContext(ctx).WithArguments(string(agent.UID)).Should(BeNumerically(">", before+2), name+" does not trade")
	}
}
