package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// worker is a process that runs agents.
type worker struct {
	command *exec.Cmd
	ask     io.WriteCloser
	answers *bufio.Scanner
}

func startWorkers(ctx context.Context, config *rest.Config, opts options) ([]*worker, error) {
	directory, err := os.MkdirTemp("", "trading-halt-")
	if err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, func() { _ = os.RemoveAll(directory) })
	kubeconfig := filepath.Join(directory, "kubeconfig")
	access := clientcmdapi.NewConfig()
	access.Clusters["bench"] = &clientcmdapi.Cluster{Server: config.Host, CertificateAuthorityData: config.CAData}
	access.AuthInfos["bench"] = &clientcmdapi.AuthInfo{ClientCertificateData: config.CertData, ClientKeyData: config.KeyData}
	access.Contexts["bench"] = &clientcmdapi.Context{Cluster: "bench", AuthInfo: "bench"}
	access.CurrentContext = "bench"
	if err := clientcmd.WriteToFile(*access, kubeconfig); err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	workers := make([]*worker, opts.processes)
	for i := range workers {
		from, to := opts.crowd()*i/opts.processes, opts.crowd()*(i+1)/opts.processes
		command := exec.CommandContext(ctx, self, "--worker="+namespace, "--access="+kubeconfig, "--from="+strconv.Itoa(from), "--to="+strconv.Itoa(to)) //nolint:gosec // this program itself
		command.Stderr = os.Stderr
		w := &worker{command: command}
		if w.ask, err = command.StdinPipe(); err != nil {
			return nil, err
		}
		output, err := command.StdoutPipe()
		if err != nil {
			return nil, err
		}
		w.answers = bufio.NewScanner(output)
		w.answers.Buffer(nil, 16<<20)
		if err := command.Start(); err != nil {
			return nil, err
		}
		workers[i] = w
	}
	return workers, nil
}

// placements asks every worker when its agents last sent an order.
func placements(workers []*worker) (placed, error) {
	var all placed
	for _, w := range workers {
		if _, err := io.WriteString(w.ask, "\n"); err != nil {
			return all, err
		}
	}
	for _, w := range workers {
		if !w.answers.Scan() {
			return all, errors.Join(errors.New("a worker has ended"), w.answers.Err())
		}
		var one placed
		if err := json.Unmarshal(w.answers.Bytes(), &one); err != nil {
			return all, err
		}
		all.Last, all.Count = append(all.Last, one.Last...), append(all.Count, one.Count...)
	}
	return all, nil
}
