package embedded

import (
	"fmt"
	"path/filepath"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/utils/ptr"
)

// Entry is a lab's place in a kubeconfig: a cluster, a user and a context of one
// name.
type Entry struct {
	Context string `json:"context"`
	Before  string `json:"before,omitempty"` // the context that was current before

	Restored string `json:"-"` // the context that is current again

	// Where it was written: the one file, or by the rules of KUBECONFIG as it was.
	File  string   `json:"file,omitempty"`
	Files []string `json:"files,omitempty"`
}

// ContextOf is the name of a lab's context.
func ContextOf(name string) string {
	if name == DefaultName {
		return "hpabench-lab"
	}
	return "hpabench-lab-" + name
}

// enter adds a lab to the kubeconfig in file, or to the user's own, and makes it
// the current context. Earlier is the entry of a lab of that name that has ended.
func enter(k *Kept, file string, earlier *Entry) (*Entry, error) {
	own, err := clientcmd.LoadFromFile(k.Kubeconfig())
	if err != nil {
		return nil, fmt.Errorf("reading the kubeconfig of the embedded cluster: %w", err)
	}
	context := own.Contexts[own.CurrentContext]
	if context == nil {
		return nil, fmt.Errorf("the kubeconfig of the embedded cluster, %s, has no current context", k.Kubeconfig())
	}
	e := &Entry{Context: ContextOf(k.Name)}
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	if file != "" {
		if e.File, err = filepath.Abs(file); err != nil {
			return nil, err
		}
	}
	for _, f := range rules.Precedence {
		if f, err = filepath.Abs(f); err != nil {
			return nil, err
		}
		e.Files = append(e.Files, f)
	}
	config, err := e.rules().GetStartingConfig()
	if err != nil {
		return nil, fmt.Errorf("reading the kubeconfig: %w", err)
	}
	switch {
	case config.CurrentContext != e.Context:
		e.Before = config.CurrentContext
	case earlier != nil:
		e.Before = earlier.Before
	}
	cluster, user := own.Clusters[context.Cluster].DeepCopy(), own.AuthInfos[context.AuthInfo].DeepCopy()
	context = context.DeepCopy()
	context.Cluster, context.AuthInfo = e.Context, e.Context
	// Of an entry that one left which was killed, the file stays the same.
	cluster.LocationOfOrigin = ptr.Deref(config.Clusters[e.Context], clientcmdapi.Cluster{}).LocationOfOrigin
	user.LocationOfOrigin = ptr.Deref(config.AuthInfos[e.Context], clientcmdapi.AuthInfo{}).LocationOfOrigin
	context.LocationOfOrigin = ptr.Deref(config.Contexts[e.Context], clientcmdapi.Context{}).LocationOfOrigin
	config.Clusters[e.Context], config.AuthInfos[e.Context], config.Contexts[e.Context] = cluster, user, context
	config.CurrentContext = e.Context
	if err := clientcmd.ModifyConfig(e.rules(), *config, true); err != nil {
		return nil, fmt.Errorf("adding the context %s to the kubeconfig: %w", e.Context, err)
	}
	return e, nil
}

// leave removes the entry, and makes the context current that was so before,
// unless the user has chosen another since.
func (e *Entry) leave() error {
	config, err := e.rules().GetStartingConfig()
	if err != nil {
		return fmt.Errorf("reading the kubeconfig: %w", err)
	}
	delete(config.Clusters, e.Context)
	delete(config.AuthInfos, e.Context)
	delete(config.Contexts, e.Context)
	if config.CurrentContext == e.Context {
		config.CurrentContext = ""
		if config.Contexts[e.Before] != nil {
			config.CurrentContext, e.Restored = e.Before, e.Before
		}
	}
	if err := clientcmd.ModifyConfig(e.rules(), *config, true); err != nil {
		return fmt.Errorf("removing the context %s from the kubeconfig: %w", e.Context, err)
	}
	return nil
}

func (e *Entry) rules() *clientcmd.ClientConfigLoadingRules {
	return &clientcmd.ClientConfigLoadingRules{ExplicitPath: e.File, Precedence: e.Files}
}
