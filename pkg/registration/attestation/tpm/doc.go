// Package tpm is the machine's half of an attestation: two Provers that look the same on the wire.
//
//   - [Open] uses a TPM 2.0 device. When it cannot, the error says which of the usual causes it is and what a person at the machine does
//     about it.
//   - [Software] imitates a TPM in plain Go, with an endorsement key in a file. It is for machines without a TPM, for the demo and
//     for load tests. Whoever copies the file is the machine: a server never trusts such an identity more than one
//     that it has seen for the first time.
package tpm
