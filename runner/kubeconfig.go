package runner

import (
	"fmt"
	"io/fs"
	"os"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/hpabench/hpabench/scenarios"
)

const (
	// maxKubeconfig is the most bytes of a kubeconfig file, and of a file that it names: a
	// cluster with its certificates takes 6 KiB, so these are a thousand clusters.
	maxKubeconfig = 8 << 20
	// kubeconfigTimeout bounds the reading of such a file: /proc has some that never end, and
	// look like any other.
	kubeconfigTimeout = 10 * time.Second
)

// kubeconfigRules are clientcmd's rules for the kubeconfig's files, which reads them, and
// those that they name, whole: however large they are.
type kubeconfigRules struct {
	*clientcmd.ClientConfigLoadingRules
	context string // empty for the current one
}

// Kubeconfig returns the client configuration of a kubeconfig file and a
// context in it; an empty string stands for kubectl's default.
func Kubeconfig(file, context string) clientcmd.ClientConfig {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = file
	return clientcmd.NewNonInteractiveDeferredLoadingClientConfig(kubeconfigRules{rules, context}, &clientcmd.ConfigOverrides{CurrentContext: context})
}

// Load reads the kubeconfig.
func (r kubeconfigRules) Load() (*clientcmdapi.Config, error) {
	files := r.GetLoadingPrecedence()
	for _, file := range files {
		b, pipe, err := bounded(file)
		if err != nil {
			return nil, err
		}
		if pipe { // its content comes once
			if len(files) > 1 {
				return nil, fmt.Errorf("%s is no regular file, and KUBECONFIG names others beside it: give it with --kubeconfig", file)
			}
			config, err := clientcmd.Load(b)
			if err != nil {
				return nil, fmt.Errorf("error loading config file %q: %w", file, err)
			}
			return config, r.checkNamed(config)
		}
	}
	config, err := r.ClientConfigLoadingRules.Load()
	if err != nil {
		return nil, err
	}
	return config, r.checkNamed(config)
}

// checkNamed looks at the files that the context of the kubeconfig names.
func (r kubeconfigRules) checkNamed(config *clientcmdapi.Config) error {
	name := r.context
	if name == "" {
		name = config.CurrentContext
	}
	context := config.Contexts[name]
	if context == nil {
		return nil // what reads the kubeconfig says so
	}
	named := map[string]string{}
	if c := config.Clusters[context.Cluster]; c != nil && len(c.CertificateAuthorityData) == 0 {
		named["certificate-authority"] = c.CertificateAuthority
	}
	if u := config.AuthInfos[context.AuthInfo]; u != nil {
		named["tokenFile"] = u.TokenFile
		if len(u.ClientCertificateData) == 0 {
			named["client-certificate"] = u.ClientCertificate
		}
		if len(u.ClientKeyData) == 0 {
			named["client-key"] = u.ClientKey
		}
	}
	for field, file := range named {
		if _, pipe, err := bounded(file); err != nil || pipe {
			if err == nil {
				err = fmt.Errorf("%s is no regular file", file)
			}
			return fmt.Errorf("%s of context %q: %w", field, name, err)
		}
	}
	return nil
}

// bounded reads a file that the kubeconfig is in, or that it names, and says whether it can be
// read only once. What is not there is no error here: clientcmd has its own rules for that.
func bounded(file string) (content []byte, pipe bool, err error) {
	info, err := os.Stat(file)
	if err != nil || file == os.DevNull {
		return nil, false, nil
	}
	if !info.Mode().IsRegular() { // a user may have to log in before <(...) ends
		content, err = scenarios.ReadFile(file, maxKubeconfig)
		return content, true, err
	}
	done := make(chan error, 1)
	go func() {
		_, err := scenarios.ReadFile(file, maxKubeconfig)
		done <- err
	}()
	select {
	case err = <-done:
	case <-time.After(kubeconfigTimeout):
		err = &fs.PathError{Op: "read", Path: file, Err: fmt.Errorf("it did not end within %s", kubeconfigTimeout)}
	}
	return nil, false, err
}
