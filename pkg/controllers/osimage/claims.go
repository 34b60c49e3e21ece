package osimage

import (
	"maps"
	"slices"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/types"
)

// objectKey names an image, or a Fleet cluster: namespace and name.
type objectKey = types.NamespacedName

// claims remembers which images select which clusters. An event of a node, of which there are storms, has to find the images
// that it concerns without looking at any of the others; and two images that meet in a cluster have to hear of each other.
type claims struct {
	mutex sync.Mutex
	// clusters are what each image selects, and images is the same the other way round.
	clusters map[objectKey]map[objectKey]bool
	images   map[objectKey]map[objectKey]bool
	// terms are what else decides whether two images meet there: which nodes each selects.
	terms map[objectKey]string
	// managed leads from the name of Rancher's own cluster, which is the namespace of its nodes, to Fleet's.
	managed map[string]objectKey
}

func newClaims() *claims {
	return &claims{clusters: map[objectKey]map[objectKey]bool{}, images: map[objectKey]map[objectKey]bool{}, terms: map[objectKey]string{}, managed: map[string]objectKey{}}
}

// set says what an image selects now, and on which terms, and returns the other images that this concerns: they share a
// cluster that came or went, or, when the terms are others, any cluster.
func (c *claims) set(image objectKey, clusters []objectKey, terms string) []objectKey {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	now := map[objectKey]bool{}
	for _, cluster := range clusters {
		now[cluster] = true
	}
	changed := map[objectKey]bool{}
	for cluster := range c.clusters[image] {
		if !now[cluster] {
			changed[cluster] = true
			delete(c.images[cluster], image)
		}
	}
	for cluster := range now {
		if !c.clusters[image][cluster] || c.terms[image] != terms {
			changed[cluster] = true
		}
		if c.images[cluster] == nil {
			c.images[cluster] = map[objectKey]bool{}
		}
		c.images[cluster][image] = true
	}
	c.clusters[image], c.terms[image] = now, terms
	if len(now) == 0 {
		delete(c.clusters, image)
		delete(c.terms, image)
	}
	others := map[objectKey]bool{}
	for cluster := range changed {
		for other := range c.images[cluster] {
			if other != image {
				others[other] = true
			}
		}
		if len(c.images[cluster]) == 0 {
			delete(c.images, cluster)
		}
	}
	return sortedKeys(others)
}

// of are the images that select the cluster.
func (c *claims) of(cluster objectKey) []objectKey {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return sortedKeys(c.images[cluster])
}

// manage says which Fleet cluster Rancher's cluster of that name is.
func (c *claims) manage(managed string, cluster objectKey) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if managed != "" {
		c.managed[managed] = cluster
	}
}

// ofManaged are the images that select Rancher's cluster of that name.
func (c *claims) ofManaged(managed string) []objectKey {
	c.mutex.Lock()
	cluster, known := c.managed[managed]
	c.mutex.Unlock()
	if !known {
		return nil
	}
	return c.of(cluster)
}

func sortedKeys(set map[objectKey]bool) []objectKey {
	return slices.SortedFunc(maps.Keys(set), func(a, b objectKey) int { return strings.Compare(a.String(), b.String()) })
}
