package v1

// Conditions and reasons that every kind shares. Each kind adds its own at the end of its file.
const (
	// ConditionReady is the one summary of an object: `kubectl wait --for=condition=Ready` and Helm's --wait look at it. Where
	// it is not True, read its message: it says what is the case and what to do.
	ConditionReady = "Ready"

	// ReasonReady: all is as asked for; nothing to do.
	ReasonReady = "Ready"
	// ReasonInvalidSpec: the spec, or a setting of Rancher's that it is read with, asks for something that cannot be done. Edit
	// the field or setting that the message names.
	ReasonInvalidSpec = "InvalidSpec"
	// ReasonNamespaceNotServed: the object takes a Secret beside it, and the operator has no right to keep Secrets in this
	// namespace. Add the namespace to secretNamespaces of the operator's chart, or create the object in one that is there.
	ReasonNamespaceNotServed = "NamespaceNotServed"
	// ReasonServerURLMissing: Rancher's setting server-url is empty or not a URL. Set it in Rancher's global settings.
	ReasonServerURLMissing = "ServerURLMissing"
	// ReasonAPIError: the Kubernetes API refused or failed; it is tried again by itself. If it stays, read the message:
	// it is the API server's own.
	ReasonAPIError = "APIError"
)
