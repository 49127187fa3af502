from onemark_ncc import NCC, NCCConfig

from onemark.testing import check_stage


def test_it_keeps_to_the_contract_of_stages():
    check_stage(NCC, NCCConfig(area=8192))
