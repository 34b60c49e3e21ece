// Package osimage turns a ManagedOSImage into a Fleet Bundle that carries an upgrade plan to the targeted clusters.
//
// The Bundle holds a Plan for system-upgrade-controller and the rights that its jobs need. A cloud-config does not
// travel in the Bundle, which many may read, but as a Secret that Fleet copies beside it. Every name downstream is
// unique to the image, so that two images that reach one cluster do not fight over objects.
//
// What is found wrong with an image is said in its conditions, and nothing is taken away because of it: a rollout that is
// under way goes on until the image says otherwise, or is deleted. The Bundle belongs to the image and goes with it.
//
//	Watches  ManagedOSImage; ManagedOSVersion; Bundle; Secret of type rancheros.cattle.io/cloud-config;
//	         Setting system-default-registry
//	Reads    ManagedOSVersion, Setting
//	Writes   Bundle, Secret, ManagedOSImage status, Events
package osimage
