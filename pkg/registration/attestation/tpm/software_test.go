package tpm

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rancher/rancheros-operator/pkg/registration/attestation"
	"github.com/rancher/rancheros-operator/pkg/registration/protocol"
)

func TestRoundTrip(t *testing.T) {
	for _, keyType := range []KeyType{RSA2048, ECCP256} {
		t.Run(string(keyType), func(t *testing.T) {
			software, err := GenerateSoftware(keyType)
			require.NoError(t, err)
			proof, err := software.NewProof()
			require.NoError(t, err)

			header, err := proof.Token().EncodeAuthorization()
			require.NoError(t, err)
			token, err := protocol.ParseAuthorization(header)
			require.NoError(t, err)
			require.Equal(t, proof.Token(), token)

			session, err := attestation.Begin(token, attestation.Policy{})
			if err != nil {
				t.Fatal(protocol.AsError(err).Detail())
			}
			require.Equal(t, software.EndorsementHash(), session.Identity().Hash)
			require.Equal(t, string(keyType), session.Identity().KeyType)

			secret, err := proof.Activate(session.Challenge())
			require.NoError(t, err)
			answer, err := (&protocol.ChallengeResponse{Secret: secret}).Encode()
			require.NoError(t, err)
			require.NoError(t, session.Verify(answer))
			require.Error(t, session.Verify(answer), "a session takes one answer")
		})
	}
}

// Sizes of wire.md, for an RSA-2048 key without a certificate.
func TestGoldenSizes(t *testing.T) {
	software, err := GenerateSoftware(RSA2048)
	require.NoError(t, err)
	proof, err := software.NewProof()
	require.NoError(t, err)
	token := proof.Token()
	require.Len(t, token.AK.Public, 280)
	require.Len(t, token.AK.CreateData, 115)
	require.Len(t, token.AK.CreateAttestation, 139)
	require.Len(t, token.AK.CreateSignature, 262)
	header, err := token.EncodeAuthorization()
	require.NoError(t, err)
	require.Len(t, header, 2406)

	session, err := attestation.Begin(token, attestation.Policy{})
	require.NoError(t, err)
	require.Len(t, session.Challenge().EC.Credential, 70)
	require.Len(t, session.Challenge().EC.Secret, 258)
	frame, err := session.Challenge().Encode()
	require.NoError(t, err)
	require.Len(t, frame, 476)
	secret, err := proof.Activate(session.Challenge())
	require.NoError(t, err)
	answer, err := (&protocol.ChallengeResponse{Secret: secret}).Encode()
	require.NoError(t, err)
	require.Len(t, answer, 58)
}
