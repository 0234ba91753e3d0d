"""Published figures of recommenders, by the number of train pairs of the split that they belong to."""

from collections.abc import Mapping

Rows = Mapping[str, Mapping[str, float]]

_GOWALLA: Rows = {
    # BARS leaderboard Gowalla_m1, embedding size 64.
    "ItemCF": {"recall@20": 0.1570, "ndcg@20": 0.1214},
    "EASE^R": {"recall@20": 0.1765, "ndcg@20": 0.1467},
    "NGCF": {"recall@20": 0.1570, "ndcg@20": 0.1327},
    "DGCF": {"recall@20": 0.1794, "ndcg@20": 0.1521},
    "LightGCN": {"recall@20": 0.1820, "ndcg@20": 0.1547},
    "GF-CF": {"recall@20": 0.1849, "ndcg@20": 0.1518},
    "UltraGCN": {"recall@20": 0.1862, "ndcg@20": 0.1580},
    "SimpleX": {"recall@20": 0.1872, "ndcg@20": 0.1557},
}
_LASTFM: Rows = {
    # LightGCN++ (RecSys 2024), supplementary tables 7, 9 and 10, embedding size 64, 2 layers.
    "BPRMF": {"recall@10": 0.1361, "ndcg@10": 0.1532},
    "NGCF": {"recall@10": 0.1562, "ndcg@10": 0.1769},
    "LightGCN": {"recall@10": 0.1741, "ndcg@10": 0.1996, "ndcg@20": 0.2427},
    "SimGCL": {"recall@10": 0.1795, "ndcg@10": 0.2049},
    "XSimGCL": {"recall@10": 0.1801, "ndcg@10": 0.2062},
    "LightGCN++": {"recall@10": 0.1889, "ndcg@10": 0.2171, "ndcg@20": 0.2624},
    "XSimGCL++": {"recall@10": 0.1893, "ndcg@10": 0.2173},
}
PUBLISHED: Mapping[int, Rows] = {810_128: _GOWALLA, 64_315: _LASTFM}
"""By number of train pairs; only the published splits themselves have rows."""
