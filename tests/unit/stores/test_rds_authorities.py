"""The certificates that connections to Aurora are verified with."""

from datetime import UTC, datetime

from cryptography import x509

from stores.postgresql_connections import RDS_AUTHORITIES


def test_each_is_a_root_of_amazon_rds_that_signed_itself_and_is_valid_for_decades() -> None:
    roots = x509.load_pem_x509_certificates(RDS_AUTHORITIES.read_bytes())
    for root in roots:
        name = root.subject.rfc4514_string()
        assert "Amazon RDS" in name, name
        root.verify_directly_issued_by(root)
        assert root.extensions.get_extension_for_class(x509.BasicConstraints).value.ca, name
        assert root.not_valid_after_utc > datetime(2060, 1, 1, tzinfo=UTC), name
    for region in ("us-east-1", "eu-central-1", "eu-west-1", "ap-southeast-2", "sa-east-1"):
        assert sum(f" {region} " in root.subject.rfc4514_string() for root in roots) == 3, region
