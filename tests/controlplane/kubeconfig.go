package main

import (
	"fmt"
	"os"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// clusterName is the cluster and the context in every kubeconfig, so that a
// person can tell from their prompt that they are on the test cluster.
const clusterName = "rancheros-test"

// kubeconfig renders one for the named client certificate. Everything is
// embedded: the file can be copied anywhere.
func kubeconfig(c certificates, server, name string) ([]byte, error) {
	config := clientcmdapi.NewConfig()
	cluster := clientcmdapi.NewCluster()
	user := clientcmdapi.NewAuthInfo()
	cluster.Server = server
	for file, into := range map[string]*[]byte{
		c.authorityFile():       &cluster.CertificateAuthorityData,
		c.certificateFile(name): &user.ClientCertificateData,
		c.keyFile(name):         &user.ClientKeyData,
	} {
		content, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("reading certificate for kubeconfig: %w", err)
		}
		*into = content
	}
	context := clientcmdapi.NewContext()
	context.Cluster = clusterName
	context.AuthInfo = name

	config.Clusters[clusterName] = cluster
	config.AuthInfos[name] = user
	config.Contexts[clusterName] = context
	config.CurrentContext = clusterName
	content, err := clientcmd.Write(*config)
	if err != nil {
		return nil, fmt.Errorf("encoding kubeconfig: %w", err)
	}
	return content, nil
}
