package v1

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Labels, annotations, finalizers and Secret types of ours. They are stored in objects: never change one.
const (
	// LabelRegistration names, on a MachineInventory, the MachineRegistration of the same namespace that it came from.
	LabelRegistration = "rancheros.cattle.io/registration"
	// LabelAssurance tells, on a MachineInventory, how its identity was established, for selectors; one of the Assurance
	// values.
	LabelAssurance = "rancheros.cattle.io/assurance"
	// LabelSerialNumber is, on a MachineInventory that a registration made, the serial number that the machine said it has,
	// made a label value: to find a machine by what is printed on it. Nobody has proven it.
	LabelSerialNumber = "rancheros.cattle.io/serial-number"
	// LabelMachineNamespace and LabelMachine name, on a ClusterRegistrationToken, the MachineInventory it was made for.
	LabelMachineNamespace = "rancheros.cattle.io/machine-namespace"
	// LabelMachine: see LabelMachineNamespace.
	LabelMachine = "rancheros.cattle.io/machine"
	// LabelClaim names, on a MachineInventory, the MachineClaim of the same namespace that has taken it.
	LabelClaim = "rancheros.cattle.io/claim"
	// LabelImage names, on a Bundle and on what it brings, the ManagedOSImage that it comes from.
	LabelImage = "rancheros.cattle.io/managed-os-image"
	// LabelChannel names, on a ManagedOSVersion, a Job and its pods, the ManagedOSVersionChannel that made them.
	LabelChannel = "rancheros.cattle.io/channel"
	// LabelNoLongerListed marks a ManagedOSVersion that its channel does not list any more: nothing follows a channel there.
	LabelNoLongerListed = "rancheros.cattle.io/no-longer-listed"

	// LabelRollout is on the Bundle of an image, with its name. Fleet hands labels on to its BundleDeployments only when their
	// name has nothing of cattle.io in it, and by this one we find them.
	LabelRollout = "os-rollout"
	// LabelSeedImage names, on the Secret of its token, the SeedImage of the same namespace.
	LabelSeedImage = "rancheros.cattle.io/seed-image"

	// AnnotationApplied holds the digest of what we last wrote to an object of another's kind.
	AnnotationApplied = "rancheros.cattle.io/applied"
	// AnnotationPrefix begins all annotations of ours.
	AnnotationPrefix = "rancheros.cattle.io/"
	// AnnotationReplaced names, on a MachineInventory, the one whose place it has taken; written together with what was taken.
	AnnotationReplaced = "rancheros.cattle.io/replaced"
	// AnnotationEndorsementCertificate tells, on a MachineInventory, what is odd about the endorsement certificate that its TPM was
	// first accepted with; EndorsementOutsideValidity.
	AnnotationEndorsementCertificate = "rancheros.cattle.io/endorsement-certificate"
	// AnnotationRelease holds, on a ManagedOSVersion, the digest of what its channel said when it was made.
	AnnotationRelease = "rancheros.cattle.io/release"

	// AnnotationClaimed holds, on a MachineInventory, what its MachineClaim has put into the spec, so that the claim takes off
	// just that when it releases the machine.
	AnnotationClaimed = "rancheros.cattle.io/claimed"

	// FinalizerClaimedMachines holds back a MachineClaim until its machines are released.
	FinalizerClaimedMachines = "rancheros.cattle.io/claimed-machines"
	// FinalizerClusterToken holds back a MachineInventory until its ClusterRegistrationToken is gone.
	FinalizerClusterToken = "rancheros.cattle.io/cluster-token"

	// SecretTypeMachineToken is the type of a Secret, written by a user, that a machine without a TPM shares; key token.
	SecretTypeMachineToken corev1.SecretType = "rancheros.cattle.io/token"
	// SecretTypeRegistration is the type of the Secret that holds a MachineRegistration's token; key token.
	SecretTypeRegistration corev1.SecretType = "rancheros.cattle.io/registration"
	// SecretTypeCloudConfig is the type of the Secret that carries a ManagedOSImage's cloud-config; key cloud-config.
	SecretTypeCloudConfig corev1.SecretType = "rancheros.cattle.io/cloud-config"
	// SecretTypeSeedImage is the type of the Secret that holds a SeedImage's token; key token.
	SecretTypeSeedImage corev1.SecretType = "rancheros.cattle.io/seed-image"

	// SecretKeyToken is the key of the token in every kind of token Secret.
	SecretKeyToken = "token"
	// SecretKeyPreviousToken and SecretKeyPreviousTokenExpires (RFC 3339) hold a registration's last token while it still
	// works after a rotation.
	SecretKeyPreviousToken = "previousToken"
	// SecretKeyPreviousTokenExpires: see SecretKeyPreviousToken.
	SecretKeyPreviousTokenExpires = "previousTokenExpires"
	// SecretKeyAdmitted is the home of a registration's status.admitted, joined by commas: a restore may have lost the status.
	SecretKeyAdmitted = "admitted"
	// SecretKeyDownloads is the same for a SeedImage's status.downloads.
	SecretKeyDownloads = "downloads"
	// MinMachineToken is the least length of a shared machine token, in bytes; shorter ones can be guessed.
	MinMachineToken = 32
)

// Annotations that users set.
const (
	// AnnotationRotateToken, on a MachineRegistration, makes a new token, and with it a new URL, whenever its value changes.
	AnnotationRotateToken = "rancheros.cattle.io/rotate-token"
	// AnnotationRunAgain, on a ManagedOSImage, runs the upgrade once more on every node whenever its value changes, also where
	// image and version stay the same.
	AnnotationRunAgain = "rancheros.cattle.io/run-again"
	// AnnotationRotateTokenGrace is how long the old token still works, as a Go duration; absent, not at all.
	AnnotationRotateTokenGrace = "rancheros.cattle.io/rotate-token-grace"
	// AnnotationAllowedNamespaces, on a provisioning Cluster, lists the namespaces whose machines may join it beside those of
	// its own: names, separated by commas. There is no wildcard.
	AnnotationAllowedNamespaces = "rancheros.cattle.io/allowed-namespaces"
	// AnnotationSyncChannel, on a ManagedOSVersionChannel, asks it at once whenever its value changes.
	AnnotationSyncChannel = "rancheros.cattle.io/sync-channel"
	// AnnotationConfirmRemoval, on a ManagedOSVersionChannel, with the value that the condition's message names, lets an
	// answer take away more than half of the versions.
	AnnotationConfirmRemoval = "rancheros.cattle.io/confirm-removal"
)

// Labels that users set.
const (
	// LabelHold, with any value, on a node keeps it as it is, and on a Cluster all of its nodes: no upgrade starts there.
	LabelHold = "rancheros.cattle.io/hold-upgrades"
)

// How an identity was established: values of LabelAssurance and status.assurance.
const (
	// AssuranceCertificate is a TPM whose maker vouches for it.
	AssuranceCertificate = "Certificate"
	// AssuranceListed is a TPM that an administrator named beforehand.
	AssuranceListed = "Listed"
	// AssuranceFirstUse is whatever came first and proved to hold its key, be it hardware or software.
	AssuranceFirstUse = "FirstUse"
	// AssuranceSharedSecret is a machine that knows a token.
	AssuranceSharedSecret = "SharedSecret"
)

// EndorsementOutsideValidity is the value of AnnotationEndorsementCertificate where the certificate, or a CA behind it, had expired
// or was not valid yet.
const EndorsementOutsideValidity = "outside-validity"

// OwnedBy makes an object of the same namespace go when its owner goes. It does not hold the owner's deletion back: that
// would take a right on the owner's finalizers on clusters that ask for it.
func OwnedBy(owner metav1.Object, kind string) metav1.OwnerReference {
	controller := true
	return metav1.OwnerReference{
		APIVersion: SchemeGroupVersion.String(), Kind: kind, Name: owner.GetName(), UID: owner.GetUID(), Controller: &controller,
	}
}

// Own gives an object that no controller owns to its owner, and tells whether it did: some tools restore objects without
// their owner references. The object is written to.
func Own(object, owner metav1.Object, kind string) bool {
	if metav1.GetControllerOfNoCopy(object) != nil {
		return false
	}
	object.SetOwnerReferences(append(object.GetOwnerReferences(), OwnedBy(owner, kind)))
	return true
}
